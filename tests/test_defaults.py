"""Every option of a class stands in its yaml with the class's own default, so that both tell the same."""

import inspect

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from recon.conf import choices, conf_folder
from recon.data.base import DEFAULTS

FILES = [(group, name) for group in ("method", "data", "mesh") for name in choices(group)]


@pytest.mark.parametrize(("group", "name"), FILES, ids=lambda part: part)
def test_yaml_and_class_agree(group: str, name: str) -> None:
    values = OmegaConf.to_container(OmegaConf.load(conf_folder() / group / f"{name}.yaml"), resolve=False)
    if "_target_" not in values:
        pytest.skip("a preset of another file")
    parameters = dict(inspect.signature(get_object(values.pop("_target_"))).parameters)
    if values.pop("defaults", None):
        # The options of all datasets stand in one file; a dataset's own file may want other values for them.
        assert parameters.pop("shared").kind is inspect.Parameter.VAR_KEYWORD
        values = {k: v for k, v in values.items() if k not in DEFAULTS}
    assert set(values) == set(parameters)
    for key, value in values.items():
        default = parameters[key].default
        if not (isinstance(value, str) and value.startswith("${")):
            assert value == (list(default) if isinstance(default, tuple) else default), key


def test_options_of_all_datasets_stand_in_one_file() -> None:
    values = OmegaConf.to_container(OmegaConf.load(conf_folder() / "data" / "_shared.yaml"), resolve=False)
    assert {k: 0 if v == "${seed}" else v for k, v in values.items()} == DEFAULTS
