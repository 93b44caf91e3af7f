from benchmarks import learning_curve
from darklens.recipes import load


def test_every_training_of_a_curve_shares_validation_and_test_images_and_one_table():
    plans = [
        load(step.recipe, list(step.settings))
        for name in learning_curve.CURVES
        for step in learning_curve.steps(name, [1000, 30_000]).values()
    ]
    assert len({(p.data.preset, p.data.seed, p.data.train, p.data.validation, p.data.test) for p in plans}) == 1
    assert [p.data.subset for p in plans] == [1000, 30_000] * 2
    assert [p.model.name for p in plans] == ["arcnet", "arcnet", "resnet18", "resnet18"]
    assert all(len(p.single()) == 1 for p in plans)
    assert plans[0].train.epochs > plans[1].train.epochs == load("common-test-arcnet").train.epochs


def test_the_picture_shows_every_curve_even_one_without_mistakes(tmp_path):
    def row(curve, images, value):
        number = {"value": value, "low": value - 0.01, "high": min(1.0, value + 0.01), "n": 100}
        metrics = {"accuracy": number, "auc_macro": number}
        return {"condition": {"curve": curve, "images": images}, "metrics": metrics}

    rows = [row("arcnet", 1000, 0.9), row("arcnet", 3000, 1.0), row("resnet18", 1000, 0.5)]
    learning_curve.draw(rows, tmp_path / "docs" / "curve.png")
    assert (tmp_path / "docs" / "curve.png").read_bytes().startswith(b"\x89PNG")
