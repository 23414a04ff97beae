"""A GGUF file as its own package writes it, of a model made here."""

import numpy as np
import torch

from volano.model.decoder import Decoder, DecoderConfig, initialise

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def vocabulary():
    """Every byte, and one merge: digits that stand side by side."""
    from volano.text.tokenizer import BYTE_OF_CHARACTER

    return [*SPECIALS, *BYTE_OF_CHARACTER, "42", "on"]


def model(**shape):
    config = {"width": 32, "layers": 2, "heads": 4, "key_value_heads": 2, "feed_forward": 64}
    config |= {"context": 64}
    made = Decoder(DecoderConfig(vocabulary=len(vocabulary()), **config | shape))
    initialise(made, seed=0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
    return made


def paired(weight, heads):
    """As llama.cpp's converter turns a Llama's queries and keys: halves side by side."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def write(path, made, *, architecture="llama", quantised=False, without=(), **changed):
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    config = made.config
    values = {
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.layers,
        "feed_forward_length": config.feed_forward,
        "head_count": config.heads,
        "head_count_kv": config.key_value_heads,
        "layer_norm_rms_eps": config.norm_epsilon,
        "key_length": config.head_width,
        "rope_freq_base": config.rope_theta,
        "tokenizer_model": "gpt2",
        "tokenizer_pre": "smollm",
        "token_list": vocabulary(),
        "token_types": [3] * len(SPECIALS) + [1] * (len(vocabulary()) - len(SPECIALS)),
        "token_merges": ["4 2", "o n"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "chat_template": CHATML,
    }
    for name, value in (values | changed).items():
        if name not in without:
            getattr(writer, f"add_{name}")(value)
    for name, value in made.state_dict().items():
        stem, _, kind = name.rpartition(".")
        block = ""
        if stem.startswith("model.layers."):
            block, stem = f"blk.{stem.split('.')[2]}.", stem.split(".", 3)[3]
        array = value.numpy()
        heads = {"self_attn.q_proj": config.heads, "self_attn.k_proj": config.key_value_heads}
        if stem in heads and architecture == "llama":
            array = paired(array, heads[stem])
        array = np.ascontiguousarray(array)
        theirs = f"{block}{NAMES[stem]}.{kind}"
        if quantised and array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(theirs, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(theirs, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
