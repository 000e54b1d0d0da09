"""The tensors of a model beside each other, and what training leaves of them."""

import torch
from torch import nn
from torch.nn import functional

from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.init.recognition.model_recognition import recognise_all
from tests.cases import each


def told(model):
    """Return the words for every parameter by its name."""
    held = [
        (f"{path}.{leaf}".lstrip("."), owner, leaf, parameter)
        for path, owner in model.named_modules()
        for leaf, parameter in owner.named_parameters(recurse=False)
    ]
    found = recognise_all([one[1:] for one in held], {id(one[3]): measure(one[3]) for one in held})
    return {name: found[id(parameter)].words for name, _, _, parameter in held}


def drawn(words):
    """Leave out what is told without a doubt: a bias that has no gradient stays as it was."""
    return {name: one for name, one in words.items() if one not in ("unrecognised", "zeros", "ones")}


def mlp():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def cnn():
    first = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*first, nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 10))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 64)
        self.block = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.0)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.block(self.embed(x.view(-1, 8, 8))).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.lstm(x.view(-1, 8, 8))[0][:, -1])


INITS = {
    "default": lambda w: None,
    "kaiming": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}


def initialised(build, init, seed):
    torch.manual_seed(seed)
    model = build()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            INITS[init](parameter)
    return model


def trained(model, seed, steps=100):
    """Take some steps of SGD on ten clusters of points."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(10, 64, generator=generator)
    labels = torch.randint(0, 10, (steps, 64), generator=generator)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for label in labels:
        x = centres[label] * 0.7 + torch.randn(64, 64, generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(model(x), label).backward()
        optimiser.step()
    return model


MODELS = {"mlp": mlp, "cnn": cnn, "attention": Attention, "recurrent": Recurrent}


@each(("model", "init"), [*zip(MODELS, INITS, strict=False), *zip(MODELS, reversed(INITS), strict=False)])
def test_trained_weights_are_not_recognised(model, init):
    """A hundred steps from any initialisation; before them all but the smallest are recognised."""
    built = initialised(MODELS[model], init, 0)
    words = told(built)
    large = [name for name, one in built.named_parameters() if one.numel() >= 500]
    assert [name for name in large if words[name] == "unrecognised"] == []
    assert drawn(told(trained(built, 0))) == {}


def test_a_new_head_on_an_old_body():
    """The body is unrecognised, the head still is what it was drawn from: its bias, or its bounds, tell."""
    body = trained(initialised(cnn, "kaiming", 0), 0)
    default, normal = nn.Linear(32 * 36, 10), nn.Linear(32 * 36, 10)
    nn.init.normal_(normal.weight, std=0.02)
    nn.init.zeros_(normal.bias)
    for head, weight in ((default, "uniform ±1/√fan_in (Linear's default)"), (normal, "normal std 0.02")):
        body[-1] = head
        words = told(body)
        assert (words["1.weight"], words["4.weight"]) == ("unrecognised", "unrecognised")
        assert words[f"{len(body) - 1}.weight"] == weight


def test_a_small_tensor_goes_by_the_larger_ones():
    """Several schemes fit 3·9·3·3 numbers; the one that drew the rest of the model is meant."""
    torch.manual_seed(5)
    model = nn.Sequential(*(nn.Conv2d(n, 3 * n, 3) for n in (3, 9, 27, 40)), nn.Embedding(12, 16))
    for parameter in model.parameters():
        if parameter.dim() > 2:
            nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
        elif parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.02)
    words = told(model)
    assert [words[f"{at}.weight"] for at in range(4)] == ["kaiming_normal fan_out, relu"] * 4
    assert words["4.weight"] == "unrecognised"
    model.append(nn.Embedding(300, 16))
    nn.init.normal_(model[-1].weight, std=0.02)
    assert told(model)["4.weight"] == "normal std 0.02"


def wide(stds, width=96):
    model = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in stds))
    for layer, std in zip(model, stds, strict=True):
        nn.init.normal_(layer.weight, std=std)
    return model


def test_one_std_has_one_name_in_all_tensors():
    """As GPT-2 scales the projections that end in its residual stream: 0.02 over the root of how many there are."""
    others = ["normal std 0.02"] * 6
    for seed in range(8):
        torch.manual_seed(seed)
        words = [*told(wide([0.02] * 6 + [0.02 / 8**0.5] * 8)).values()]
        assert words == [*others, *["normal std 0.02/√8"] * 8]
        words = [*told(wide([0.02] * 6 + [0.0237] * 3)).values()]
        assert words[:6] == others and len({*words[6:]}) == 1 and words[6].startswith("normal std 0.023")


def test_different_stds_stay_apart():
    for seed in range(8):
        torch.manual_seed(seed)
        words = [*told(wide([0.0237, 0.0237, 0.0262, 0.0262, 0.031])).values()]
        assert words[0] == words[1] != words[2] == words[3] != words[4] != words[0]


def test_a_bias_set_piece_by_piece_says_nothing_of_the_weights():
    """Open forget gates: zeros, and ones in the second quarter."""
    lstm = nn.LSTM(64, 64)
    with torch.no_grad():
        for bias in (lstm.bias_ih_l0, lstm.bias_hh_l0):
            bias.zero_()[64:128] = 1.0
    words = told(lstm)
    assert words["weight_ih_l0"] == words["weight_hh_l0"] == "uniform ±1/√hidden_size (LSTM's default)"
    assert words["bias_ih_l0"] == "unrecognised"


def test_what_has_no_values_is_left_out():
    model = nn.Linear(4, 3, device="meta")
    held = [(model, leaf, parameter) for leaf, parameter in model.named_parameters()]
    assert recognise_all(held, {id(one): measure(one) for _, _, one in held}) == {}
