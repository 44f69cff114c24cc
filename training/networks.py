"""The three small networks of the compact pack, built from plain 3x3 convolutions.

Plain convolutions are what two CPU cores run fastest: a depthwise network of the same accuracy does fewer
multiplications but waits for memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
ANCHOR_SIZES = ((16, 32), (64, 128), (256, 512))


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A convolution with batch normalisation and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        # Starting as the identity lets a deep network train at a high rate from the first step.
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``relu(x + f(x))``."""
        return functional.relu(x + self.second(self.first(x)))


class Detector(nn.Module):
    """A face detector with SCRFD's outputs: three strides, two anchors a cell, five key points.

    The first anchor of a cell stands for the smaller faces of its stride, the second for the larger ones, with
    the anchor sizes that SCRFD itself was trained with, so that a teacher's outputs can be copied cell by cell.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 24, 48, 72, 96), pyramid: int = 40, head: int = 48) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.stem = nn.Sequential(conv(3, a, 2), conv(a, b, 2), conv(b, b))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(conv(b, c, 2), Residual(c)),
                nn.Sequential(conv(c, d, 2), Residual(d)),
                nn.Sequential(conv(d, e, 2), Residual(e)),
            ]
        )
        self.lateral = nn.ModuleList([conv(w, pyramid, kernel=1) for w in (c, d, e)])
        self.smooth = nn.ModuleList([conv(pyramid, pyramid) for _ in STRIDES])
        self.heads = nn.ModuleList([nn.Sequential(conv(pyramid, head), conv(head, head)) for _ in STRIDES])
        self.scores = nn.ModuleList([nn.Conv2d(head, 2, 3, 1, 1) for _ in STRIDES])
        self.boxes = nn.ModuleList([nn.Conv2d(head, 8, 3, 1, 1) for _ in STRIDES])
        self.points = nn.ModuleList([nn.Conv2d(head, 20, 3, 1, 1) for _ in STRIDES])
        for layer in self.scores:
            # Almost every cell is background: start there, or the first steps are spent on learning just that.
            nn.init.constant_(layer.bias, -4.6)
        for layer in self.boxes:
            nn.init.constant_(layer.bias, 1.0)
        for stride, sizes in zip(STRIDES, ANCHOR_SIZES, strict=True):
            # Distances leave the convolution near 1 and are scaled to the anchor's half size in cells.
            scale = torch.tensor(sizes, dtype=torch.float32).view(2, 1) / (2 * stride)
            self.register_buffer(f"scale{stride}", scale, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run the network.

        Args:
            x: (B, 3, H, W) RGB, ``(pixel - 127.5) / 128``; H and W multiples of 32.

        Returns:
            Nine tensors: score logits (B, N, 1), box distances (B, N, 4) and key point offsets (B, N, 10), each
            for the strides 8, 16, 32, in cells of the stride.
        """
        x = self.stem(x)
        features = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            features.append(lateral(x))
        for level in (1, 0):
            features[level] = features[level] + functional.interpolate(features[level + 1], scale_factor=2.0)
        scores, boxes, points = [], [], []
        for level, stride in enumerate(STRIDES):
            feature = self.heads[level](self.smooth[level](features[level]))
            scale = getattr(self, f"scale{stride}")
            scores.append(_rows(self.scores[level](feature), 1))
            boxes.append(self._scaled(self.boxes[level](feature), 4, scale))
            points.append(self._scaled(self.points[level](feature), 10, scale))
        return scores + boxes + points

    @staticmethod
    def _scaled(x: Tensor, width: int, scale: Tensor) -> Tensor:
        rows = _rows(x, width)
        return (rows.reshape(rows.shape[0], -1, 2, width) * scale).reshape(rows.shape[0], -1, width)


def _rows(x: Tensor, width: int) -> Tensor:
    """(B, 2 * width, H, W) to (B, H * W * 2, width): cells row by row, a cell's two anchors side by side."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)


class Classifier(nn.Module):
    """A residual network for one cut-out face: from pixels to a row of logits.

    Args:
        outputs: Length of the row.
        widths: Channels at a half (or all), a quarter, an eighth and a sixteenth of the input's side.
        blocks: Residual blocks at each of these.
        stem: Channels of a layer at the whole of the input's side, for small pictures; 0 for none.
        grey: Whether the network sees the brightness only. Its input is RGB all the same.
        dropout: Share of the features dropped before the last layer.
    """

    def __init__(
        self,
        outputs: int,
        widths: tuple[int, int, int, int],
        blocks: tuple[int, int, int, int],
        *,
        stem: int = 0,
        grey: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.grey = grey
        inputs = 1 if grey else 3
        layers: list[nn.Module] = [conv(inputs, stem), conv(stem, widths[0], 2)] if stem else []
        layers = layers or [conv(inputs, widths[0], 2, kernel=5)]
        before = widths[0]
        for index, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if index:
                layers.append(conv(before, width, 2))
            layers.extend(Residual(width) for _ in range(count))
            before = width
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(before, outputs)
        self.register_buffer("brightness", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) RGB, ``(pixel - 127.5) / 128``, to logits (B, outputs)."""
        return self.last(self.dropout(self.body(self.prepared(x)).mean((2, 3))))

    def prepared(self, x: Tensor) -> Tensor:
        """Return what the first layer sees of (B, 3, S, S)."""
        return standardised((x * self.brightness).sum(1, keepdim=True)) if self.grey else x


def standardised(x: Tensor) -> Tensor:
    """Take each picture (B, 1, H, W) to mean 0 and deviation 1: the light of the room says nothing about a mood."""
    x = x - x.mean((2, 3), keepdim=True)
    return x / (x.square().mean((2, 3), keepdim=True).sqrt() + 0.05)


def age_and_gender() -> Classifier:
    """The attribute network: 2 gender logits [female, male], then 101 logits for the ages 0 to 100."""
    return Classifier(103, (32, 64, 128, 192), (0, 1, 2, 1))


def emotion() -> Classifier:
    """The emotion network: 8 logits in the order of `training.data.EMOTIONS`."""
    return Classifier(8, (48, 96, 192, 192), (1, 2, 2, 1), stem=24, grey=True, dropout=0.3)


def verifier() -> Classifier:
    """The verifier: a logit, how much of a face it sees, and the four edges of the face."""
    return Classifier(5, (24, 48, 96, 128), (0, 1, 1, 1))


def further_head(classes: int) -> Classifier:
    """A network for another question about a face, with the attribute network's input."""
    return Classifier(classes, (32, 64, 128, 192), (0, 1, 2, 1))


class Mirrored(nn.Module):
    """Averages the logits for a face and for its mirror image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network returns."""
        # In one batch: a small network spends much of its time between its layers.
        both = self.network(torch.cat([x, x.flip(3)]))
        return both.reshape(2, -1, both.shape[1]).mean(0)


class Averaged(nn.Module):
    """Averages the logits of several networks: each errs in its own way."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each network returns."""
        return torch.stack([network(x) for network in self.networks]).mean(0)
