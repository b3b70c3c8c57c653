"""ALTO on three planes as its description reads, with the weights of one of our networks: what the benchmarks beat.

Features are (B, C, N) as torch_scatter's interface suggests, every plane is a call of its own, indices are worked out
where they are needed, keys, values and the attention's perceptron are evaluated at every neighbour of every query.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from recon.nets.alternating import Down, Exchange, Up
from recon.nets.occupancy_net import OccupancyNet
from recon.nets.pointnet import ResidualBlock

AXES = {"xz": [0, 2], "xy": [0, 1], "yz": [1, 2]}
Planes = dict[str, Tensor]


def coordinates(points: Tensor, plane: str) -> Tensor:
    u = points[..., AXES[plane]] / (1 + 0.1 + 1e-5) + 0.5
    u = torch.where(u >= 1, torch.full_like(u, 1 - 1e-5), u)
    return torch.where(u < 0, torch.zeros_like(u), u)


def bins(points: Tensor, plane: str, resolution: int) -> Tensor:
    cell = (coordinates(points, plane) * resolution).long()
    return (cell[..., 0] + resolution * cell[..., 1])[:, None]


def scatter_mean(c: Tensor, index: Tensor, size: int) -> Tensor:
    index = index.expand_as(c)
    total = c.new_zeros(*c.shape[:2], size).scatter_add(2, index, c)
    count = c.new_zeros(*c.shape[:2], size).scatter_add(2, index, torch.ones_like(c))
    return total / count.clamp(min=1)


def scatter_max(c: Tensor, index: Tensor, size: int) -> Tensor:
    return c.new_zeros(*c.shape[:2], size).scatter_reduce(2, index.expand_as(c), c, "amax", include_self=False)


def to_planes(points: Tensor, c: Tensor, resolution: int) -> Planes:
    planes = {}
    for plane in AXES:
        mean = scatter_mean(c.transpose(1, 2), bins(points, plane, resolution), resolution**2)
        planes[plane] = mean.reshape(len(c), -1, resolution, resolution)
    return planes


def sample(picture: Tensor, points: Tensor, plane: str) -> Tensor:
    grid = 2 * coordinates(points, plane)[:, :, None] - 1
    read = F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return read.squeeze(-1).transpose(1, 2)


def block(net: ResidualBlock, x: Tensor) -> Tensor:
    hidden = F.linear(F.relu(x), net.first.weight, net.first.bias)
    return net.shortcut(x) + F.linear(F.relu(hidden), net.second.weight, net.second.bias)


def point_features(net: OccupancyNet, points: Tensor) -> Tensor:
    x = block(net.points.blocks[0], net.points.lift(points))
    for residual in net.points.blocks[1:]:
        pooled = torch.zeros_like(x)
        for plane in AXES:
            index = bins(points, plane, net.resolution)
            top = scatter_max(x.transpose(1, 2), index, net.resolution**2)
            pooled = pooled + top.gather(2, index.expand(-1, x.shape[2], -1)).transpose(1, 2)
        x = block(residual, torch.cat([x, pooled], dim=2))
    return net.points.out(x)


def exchange(net: Exchange, planes: Planes, c: Tensor, points: Tensor) -> tuple[Planes, Tensor]:
    read = sum(sample(planes[plane], points, plane) for plane in AXES)
    c = net.out(F.relu(net.hidden(read))) + net.carry(c)
    return to_planes(points, c, planes["xz"].shape[-1]), c


def convolved(stage: Down | Up, picture: Tensor) -> Tensor:
    hidden = F.relu(F.conv2d(picture, stage.conv1.weight, stage.conv1.bias, padding=1))
    return F.relu(F.conv2d(hidden, stage.conv2.weight, stage.conv2.bias, padding=1))


def unet(net: OccupancyNet, sparse: Planes, c: Tensor, points: Tensor) -> Planes:
    dense: Planes = {}
    skips = []
    for number, stage in enumerate(net.unet.down):
        planes = {plane: convolved(stage, sparse[plane]) for plane in AXES}
        if number:
            below = {plane: F.max_pool2d(dense[plane], 2) if number > 1 else dense[plane] for plane in AXES}
            planes = {plane: planes[plane] + stage.residual(below[plane]) for plane in AXES}
        dense = planes
        sparse, c = exchange(stage.exchange, planes, c, points)
        skips.append(sparse)
        if number in (1, 2):
            sparse = {plane: F.max_pool2d(sparse[plane], 2) for plane in AXES}
    for stage, skip in zip(net.unet.up, skips[-2::-1], strict=True):
        joined = {plane: torch.cat([stage.rise(sparse[plane]), skip[plane]], dim=1) for plane in AXES}
        dense = {plane: convolved(stage, joined[plane]) + stage.residual(dense[plane]) for plane in AXES}
        if stage.exchange is not None:
            sparse, c = exchange(stage.exchange, dense, c, points)
    return {plane: net.unet.final(dense[plane]) for plane in AXES}


def encode(net: OccupancyNet, points: Tensor) -> Planes:
    c = point_features(net, points)
    return unet(net, to_planes(points, c, net.resolution), c, points)


def attend(net: OccupancyNet, number: int, picture: Tensor, plane: str, queries: Tensor) -> Tensor:
    decoder, resolution = net.decoder, net.resolution
    place = coordinates(queries, plane) * (resolution - 1)
    moves = torch.tensor([(a, b) for b, a in itertools.product((-1, 0, 1), repeat=2)])
    near = (place.round().long()[:, :, None] + moves).clamp(0, resolution - 1)
    rows, columns = (near[..., 0], near[..., 1]) if decoder.layout == "legacy" else (near[..., 1], near[..., 0])
    items = torch.arange(len(queries))[:, None, None]
    found = picture[items, :, rows, columns]

    def linear(layer: torch.nn.Module, x: Tensor) -> Tensor:
        return F.linear(x, layer.weight[number], None if layer.bias is None else layer.bias[number].flatten())

    query = linear(decoder.query, sample(picture, queries, plane)[:, :, None])
    key, value = linear(decoder.key, found), linear(decoder.value, found)
    offset = linear(decoder.offset[1], F.relu(linear(decoder.offset[0], place[:, :, None] - near)))
    scores = linear(decoder.attention[1], F.relu(linear(decoder.attention[0], query - key + offset)))
    return (scores.softmax(dim=2) * (value + offset)).sum(dim=2)


def decode(net: OccupancyNet, planes: Planes, queries: Tensor) -> Tensor:
    features = torch.cat([attend(net, n, planes[plane], plane, queries) for n, plane in enumerate(AXES)], dim=2)
    head = net.decoder.head
    x = torch.zeros_like(features[..., : head.out.weight.shape[1]])
    for mix, residual in zip(head.mix, head.blocks, strict=True):
        x = block(residual, x + mix(features))
    return head.out(F.relu(x)).squeeze(-1)


def forward(net: OccupancyNet, points: Tensor, queries: Tensor) -> Tensor:
    """Logits (B, Q) of a network on three planes with four levels and attention."""
    return decode(net, encode(net, points), queries)
