"""Camera poses that are learned (IDR, section 3.1): a quaternion and a centre for each image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recon.geometry.conventions import quaternion_of


class LearnedPoses(nn.Module):
    """A table of rows ``[w, x, y, z, centre]``, quaternions of any length; its name and layout are IDR's.

    Args:
        poses: (V, 4, 4) camera to local, from which they start (IDR: ``cameras_linear_init``).
    """

    def __init__(self, poses: Tensor) -> None:
        super().__init__()
        matrices = poses.detach().cpu().double().numpy()
        rows = np.concatenate([quaternion_of(matrices[:, :3, :3]), matrices[:, :3, 3]], axis=1)
        self.weight = nn.Parameter(torch.from_numpy(rows.astype(np.float32)).to(poses.device))

    def forward(self, views: Tensor) -> Tensor:
        """(..., 4, 4) poses, camera to local, of the images numbered `views` (...); gradients flow to their rows."""
        rows = self.weight[views]
        rotation = rotation_of(rows[..., :4])
        top = torch.cat([rotation, rows[..., 4:, None]], dim=-1)
        bottom = torch.eye(4, dtype=rows.dtype, device=rows.device)[3:].expand(*rows.shape[:-1], 1, 4)
        return torch.cat([top, bottom], dim=-2)


def rotation_of(quaternion: Tensor) -> Tensor:
    """(..., 3, 3) rotations of quaternions (..., 4), ordered w, x, y, z, of any length but zero."""
    w, x, y, z = nn.functional.normalize(quaternion, dim=-1).unbind(dim=-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


class TouchedAdam(torch.optim.Adam):
    """Adam whose groups with ``touched=True`` update only the rows that have a gradient, as SparseAdam does.

    The rows of other images keep their values and their moments, which is no matter of dense against sparse tensors:
    one optimiser can hold networks and tables. Both moments are corrected by the number of all steps.

    Args:
        groups: as any optimiser's; a group with ``touched=True`` holds tables, and no weight decay.
        options: as Adam's.
    """

    def __init__(self, groups: Any, **options: Any) -> None:
        super().__init__(groups, **options)
        for group in self.param_groups:
            group.setdefault("touched", False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; rows whose gradient is zero throughout stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        tables = [p for group in self.param_groups if group["touched"] for p in group["params"] if p.grad is not None]
        kept = [(table, self._resting(table)) for table in tables]
        super().step()
        for table, (rest, *before) in kept:
            state = self.state[table]
            for now, old in zip((table, state["exp_avg"], state["exp_avg_sq"]), before, strict=True):
                now[rest] = old if isinstance(old, Tensor) else 0.0
        return loss

    def _resting(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Rows without gradient, and what they and their moments are."""
        assert table.grad is not None
        rest = (table.grad == 0).flatten(1).all(dim=1).nonzero()[:, 0]
        state = self.state[table]
        moments = [state[key][rest].clone() if key in state else None for key in ("exp_avg", "exp_avg_sq")]
        return rest, table[rest].clone(), moments[0], moments[1]
