"""What is made again for a run comes from what the run itself says."""

import pytest

from darklens.errors import InputError
from darklens.recipes import load
from darklens.recipes.recalibrate import recalibrate
from darklens.runs import Run


def test_a_run_that_does_not_say_what_its_images_were_is_refused(tmp_path):
    run = Run.create(tmp_path / "run", load("model-iii-cnn", ["tiny=true"]).model_dump(mode="json"))
    with pytest.raises(InputError, match="is not finished"):
        recalibrate(run.path)
    run.write("metrics", {})
    with pytest.raises(InputError, match=r"no data\.json"):
        recalibrate(run.path)
    assert not (tmp_path / "data").exists()
