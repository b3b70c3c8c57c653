"""Every option of a class stands in its yaml with the class's own default, so that both tell the same."""

import inspect

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from recon.conf import choices, conf_folder

FILES = [(group, name) for group in ("method", "data", "mesh") for name in choices(group)]


@pytest.mark.parametrize(("group", "name"), FILES, ids=lambda part: part)
def test_yaml_and_class_agree(group: str, name: str) -> None:
    values = OmegaConf.to_container(OmegaConf.load(conf_folder() / group / f"{name}.yaml"), resolve=False)
    if "_target_" not in values:
        pytest.skip("a preset of another file")
    parameters = inspect.signature(get_object(values.pop("_target_"))).parameters
    assert set(values) == set(parameters)
    for key, value in values.items():
        default = parameters[key].default
        if not (isinstance(value, str) and value.startswith("${")):
            assert value == (list(default) if isinstance(default, tuple) else default), key
