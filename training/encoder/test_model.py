"""The trunk equals `transformers` ModernBERT (run with pytest where transformers is installed)."""

import torch

from model import Encoder, base_config


def test_trunk_matches_transformers():
    """Same weights, same hidden states, over lengths beyond the local window."""
    from transformers import ModernBertConfig, ModernBertModel
    torch.manual_seed(0)
    c = base_config(200, hidden=64, layers=5, heads=4, intermediate=96)
    c["tandem"]["case_embedding"] = False
    c["local_attention"] = 16
    net = Encoder(c).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    keys = {k: v for k, v in c.items() if k not in ("tandem", "architectures", "torch_dtype")}
    hf = ModernBertModel(ModernBertConfig(**keys, attn_implementation="eager")).eval()
    hf.load_state_dict({k.removeprefix("model."): v for k, v in net.state_dict().items() if k.startswith("model.")})
    ids = torch.randint(5, 200, (2, 70))
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 50:] = False
    with torch.no_grad():
        ours = net.hidden(ids, torch.zeros_like(ids), mask)
        theirs = hf(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert (ours - theirs)[mask].abs().max() < 1e-4


if __name__ == "__main__":
    test_trunk_matches_transformers()
    print("ok")
