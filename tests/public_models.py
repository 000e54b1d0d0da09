"""Public architectures as their packages build them: 82 that are run without being told what they take."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

Build = Callable[[], nn.Module]

TIMM = [
    "resnet18",
    "resnet50",
    "resnetv2_50",
    "convnext_atto",
    "convnextv2_atto",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "xcit_nano_12_p16_224",
    "efficientnet_b0",
    "efficientformer_l1",
    "mobilenetv3_small_100",
    "mobilevit_xxs",
    "densenet121",
    "regnety_002",
    "mixer_s32_224",
    "gmlp_ti16_224",
    "edgenext_xx_small",
    "levit_128s",
    "coat_lite_tiny",
    "coat_tiny",
    "cait_xxs24_224",
    "poolformer_s12",
    "repvgg_a0",
    "nfnet_l0",
    "vgg11",
    "inception_v3",
    "hrnet_w18_small",
    "pvt_v2_b0",
    "crossvit_tiny_240",
    "maxvit_pico_rw_256",
    "volo_d1_224",
    "eva02_tiny_patch14_224",
    "fastvit_t8",
]
TORCHVISION = [
    "alexnet",
    "vgg11_bn",
    "resnet18",
    "googlenet",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "mnasnet0_5",
    "vit_b_16",
    "swin_t",
    "maxvit_t",
    "lraspp_mobilenet_v3_large",
    "deeplabv3_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
    "r3d_18",
    "mvit_v2_s",
    "raft_small",
]
_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
_SEQUENCE = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
}
TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "BertForMaskedLM": ("BertConfig", _SMALL),
    "GPT2LMHeadModel": ("GPT2Config", {"n_layer": 2, "n_embd": 64, "n_head": 2}),
    "DistilBertModel": ("DistilBertConfig", {"dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128}),
    "RobertaForSequenceClassification": ("RobertaConfig", _SMALL),
    "XLNetModel": ("XLNetConfig", {"d_model": 64, "n_layer": 2, "n_head": 2, "d_inner": 128}),
    "LlamaForCausalLM": ("LlamaConfig", _SMALL),
    "MambaModel": ("MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2}),
    "T5ForConditionalGeneration": ("T5Config", {"d_model": 64, "num_layers": 2, "num_heads": 2, "d_ff": 128}),
    "BartForConditionalGeneration": ("BartConfig", _SEQUENCE),
    "ViTForImageClassification": ("ViTConfig", _SMALL),
    "SwinModel": ("SwinConfig", {}),
    "SegformerForSemanticSegmentation": ("SegformerConfig", {}),
    "DPTForDepthEstimation": ("DPTConfig", {}),  # narrower, its standard deviation of 0.02 lets the signal vanish
    "VideoMAEModel": ("VideoMAEConfig", _SMALL),
    "CLIPModel": ("CLIPConfig", {"text_config": _SMALL, "vision_config": _SMALL}),
    "WhisperModel": ("WhisperConfig", _SEQUENCE),
    "Wav2Vec2Model": ("Wav2Vec2Config", _SMALL),
    "ASTModel": ("ASTConfig", _SMALL),
    "LayoutLMModel": ("LayoutLMConfig", _SMALL),
    "PatchTSTModel": ("PatchTSTConfig", {"context_length": 32}),
}
_BLOCKS = {"down": ("DownBlock2D", "CrossAttnDownBlock2D"), "up": ("CrossAttnUpBlock2D", "UpBlock2D")}
OTHERS: dict[str, tuple[str, str, tuple[Any, ...], dict[str, Any]]] = {
    "diffusers UNet2DConditionModel": (
        "diffusers",
        "UNet2DConditionModel",
        (),
        {
            "block_out_channels": (32, 64),
            "down_block_types": _BLOCKS["down"],
            "up_block_types": _BLOCKS["up"],
            "cross_attention_dim": 32,
            "sample_size": 32,
        },
    ),
    "diffusers AutoencoderKL": ("diffusers", "AutoencoderKL", (), {}),
    "diffusers DiTTransformer2DModel": (
        "diffusers",
        "DiTTransformer2DModel",
        (),
        {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2},
    ),
    "torch_geometric GCN": ("torch_geometric.nn.models", "GCN", (16, 32, 2, 4), {}),
    "torch_geometric GIN": ("torch_geometric.nn.models", "GIN", (16, 32, 2, 4), {}),
    "monai UNet": (
        "monai.networks.nets",
        "UNet",
        (),
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": (8, 16, 32), "strides": (2, 2)},
    ),
    "monai UNETR": ("monai.networks.nets", "UNETR", (1, 2, (96, 96, 96)), {"hidden_size": 96, "num_heads": 2}),
}


def builders() -> dict[str, Build]:
    """Return what builds each model whose package is here; the others are named."""

    def timm(name: str) -> Build:
        return lambda: import_module("timm").create_model(name, pretrained=False)

    def torchvision(name: str) -> Build:
        more = {"weights_backbone": None} if any(word in name for word in ("lraspp", "deeplab", "rcnn", "ssd")) else {}
        return lambda: import_module("torchvision").models.get_model(name, weights=None, **more)

    def transformers(name: str, config: str, arguments: dict[str, Any]) -> Build:
        def build() -> nn.Module:
            package = import_module("transformers")
            return getattr(package, name)(getattr(package, config)(**arguments))

        return build

    def other(package: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Build:
        return lambda: getattr(import_module(package), name)(*args, **kwargs)

    found = {f"timm {name}": timm(name) for name in TIMM}
    found |= {f"torchvision {name}": torchvision(name) for name in TORCHVISION}
    found |= {f"transformers {name}": transformers(name, *how) for name, how in TRANSFORMERS.items()}
    found |= {name: other(*how) for name, how in OTHERS.items()}
    packages = dict.fromkeys(name.split()[0] for name in found)
    missing = [package for package in packages if find_spec(package) is None]
    for package in missing:
        print(f"{package} is not installed: its models are left out")
    return {name: build for name, build in found.items() if name.split()[0] not in missing}


def build(name: str) -> nn.Module:
    """Build the model of that name: ``paraminspect show tests.public_models:build --arg name='timm resnet18'``."""
    return builders()[name]()
