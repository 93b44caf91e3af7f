import pytest
import torch

from darklens.models import build
from darklens.models.cvt import Block, ChannelNorm


def test_block_is_that_of_the_paper():
    """Against the network in transformers, with one head as wide as the map: there both agree on the scale of attention."""
    modeling = pytest.importorskip("transformers.models.cvt.modeling_cvt")
    theirs = modeling.CvtLayer(
        num_heads=1,
        embed_dim=64,
        kernel_size=3,
        padding_q=1,
        padding_kv=1,
        stride_q=1,
        stride_kv=2,
        qkv_projection_method="dw_bn",
        qkv_bias=False,
        attention_drop_rate=0.0,
        drop_rate=0.0,
        mlp_ratio=4.0,
        drop_path_rate=0.0,
        with_cls_token=False,
    ).eval()
    ours = Block(64, heads=1, dropout=0.0).eval()
    attention = theirs.attention.attention
    projections = {
        name: getattr(attention, f"convolution_projection_{name}").convolution_projection for name in ("query", "key", "value")
    }
    with torch.no_grad():
        # Keys and values come from one convolution here: give theirs the same one, and norms that are not the identity.
        for norm in (theirs.layernorm_before, theirs.layernorm_after, *(p.normalization for p in projections.values())):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        projections["value"].load_state_dict(projections["key"].state_dict())
        for ours_projection, name in ((ours.queries, "query"), (ours.keys_values, "key")):
            ours_projection[0].load_state_dict(projections[name].convolution.state_dict())
            ours_projection[1].load_state_dict(projections[name].normalization.state_dict())
        ours.queries[2].weight.copy_(attention.projection_query.weight[..., None, None])
        both = torch.cat([attention.projection_key.weight, attention.projection_value.weight])
        ours.keys_values[2].weight.copy_(both[..., None, None])
        ours.attention_norm.norm.load_state_dict(theirs.layernorm_before.state_dict())
        ours.mlp[0].norm.load_state_dict(theirs.layernorm_after.state_dict())
        for layer, linear in (
            (ours.merge[0], theirs.attention.output.dense),
            (ours.mlp[1], theirs.intermediate.dense),
            (ours.mlp[4], theirs.output.dense),
        ):
            layer.weight.copy_(linear.weight[..., None, None])
            layer.bias.copy_(linear.bias)
        maps = torch.randn(2, 64, 6, 10, generator=torch.Generator().manual_seed(0))
        expected = theirs(maps.flatten(2).transpose(1, 2), 6, 10).transpose(1, 2).view_as(maps)
        assert torch.allclose(ours(maps), expected, atol=1e-5)


def test_heads_look_apart():
    """Blanking one head's values changes only that head's channels before they are merged."""
    block = Block(32, heads=2, dropout=0.0).eval()
    maps = torch.randn(1, 32, 4, 6, generator=torch.Generator().manual_seed(0))
    kept = []
    block.merge[0].register_forward_hook(lambda module, inputs, output: kept.append(inputs[0]))
    with torch.no_grad():
        block(maps)
        block.keys_values[2].weight[3 * 64 :] = 0  # the second head's values
        block(maps)
    assert torch.equal(kept[0][:, :64], kept[1][:, :64])
    assert kept[0][:, 64:].abs().sum() > 0
    assert kept[1][:, 64:].abs().sum() == 0


@pytest.mark.parametrize("size", [(64, 64), (150, 96)])
def test_stages_halve_the_map(size):
    model = build("cvt", size=size).eval()
    sides = []
    for module in model.stages:
        if isinstance(module, ChannelNorm):
            module.register_forward_hook(lambda module, args, output: sides.append(tuple(output.shape[1:])))
    with torch.no_grad():
        model(torch.rand(1, 1, *size))
    quarter = [-(-side // 4) for side in size]
    half = [-(-side // 2) for side in quarter]
    assert sides == [(54, *quarter), (162, *half), (324, *[-(-side // 2) for side in half])]
