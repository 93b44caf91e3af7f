import json

from benchmarks import networks


def test_a_line_has_rates_and_the_ratio_of_a_network_to_resnet18(capsys):
    assert networks.main(["cnn", "--shape", "1,32,32", "--batch", "2", "--repeats", "1"]) == 0
    row = json.loads(capsys.readouterr().out)
    for kind in ("train", "predict"):
        ratio = row[kind]["images_per_s"] / row[kind]["resnet18_images_per_s"]
        assert abs(row[kind]["ratio"] / ratio - 1) < 0.05
    assert row["parameters"] > 1000
