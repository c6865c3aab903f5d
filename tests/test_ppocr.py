"""PP-OCR's recogniser: equal to ONNX Runtime's, and an encoder like any other."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.core.errors import Unavailable, UserError
from bench.core.types import Runtime
from models.alphabet import ALPHABET
from models.ppocr import WEIGHTS, PPOCRSpec
from models.ppocr_encoder import read_net
from models.ppocr_net import PPOCRConfig, PPOCRNet
from tests.test_mini import _images

FIXTURE = "tests/fixtures/ppocr_posteriors.npz"


@pytest.fixture(scope="module")
def encoder():
    return PPOCRSpec().open(Runtime())


def test_the_converted_weights_read_as_onnx_runtime_does():
    """The fixture holds ONNX Runtime's own posteriors, cut to ASCII and renormalised."""
    stored = np.load(FIXTURE)
    net, _ = read_net(WEIGHTS)
    makers = PPOCRNet(PPOCRConfig(pool=2))
    makers.load_state_dict(net.state_dict())
    with torch.inference_mode():
        images = torch.from_numpy(stored["images"].astype(np.float32))
        ours = makers.eval()(images[:, None])[1].softmax(-1).numpy()
    assert len(ours) == 20 and ours.shape == stored["posteriors"].shape
    # Weights in half precision: the network itself differs by 3e-5.
    assert np.abs(ours - stored["posteriors"]).max() < 0.02
    assert (ours.argmax(-1) == stored["posteriors"].argmax(-1)).all()


def test_shapes_and_log_probs(encoder):
    rng = np.random.default_rng(0)
    encoded = encoder.encode(encoder.prepare(_images(rng, (64, 200), (32, 333), (128, 90))))
    batch, steps, width = encoded.states.shape
    assert (batch, width) == (3, 120)
    assert encoded.log_probs.shape == (3, steps, len(ALPHABET))
    assert encoded.frames.tolist() == [44, 146, 10]
    assert encoded.state_mask.sum(1).tolist() == encoded.frames.tolist()
    assert torch.allclose(encoded.log_probs.exp().sum(-1), torch.ones(3, steps), atol=1e-4)


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("grad", [False, True])
def test_a_line_reads_the_same_alone_and_in_a_batch(encoder, grad, pool):
    rng = np.random.default_rng(1)
    images = _images(rng, (64, 700), (64, 41), (50, 300), (64, 303))
    batch, widths = encoder.prepare(images)
    net = PPOCRNet(PPOCRConfig(pool=pool))
    net.load_state_dict(encoder.net.state_dict())
    with torch.set_grad_enabled(grad):
        _, together = net.eval()(batch, widths)
        for index, image in enumerate(images):
            alone, width = encoder.prepare([image])
            frames = int(net.config.frames(width)[0])
            assert frames == int(net.config.frames(widths)[index])
            difference = net(alone, width)[1][0, :frames] - together[index, :frames]
            assert difference.abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (900, 3), (40, 20_000), (64, 64)])
def test_any_size_of_image(encoder, shape):
    encoded = encoder.encode(encoder.prepare([np.full(shape, 200, np.uint8)]))
    assert torch.isfinite(encoded.log_probs).all()
    assert int(encoded.frames[0]) >= 1


def test_low_precision_stays_near(encoder):
    image = _images(np.random.default_rng(3), (64, 256))
    exact = encoder.encode(encoder.prepare(image)).log_probs
    low = PPOCRSpec().open(Runtime(dtype="bfloat16"))
    near = low.encode(low.prepare(image)).log_probs
    assert near is not None and near.dtype == torch.float32
    assert (exact.exp() - near.exp()).abs().mean() < 0.01


def test_weights_say_where_they_are_from_and_those_that_do_not_fit_are_refused(encoder, tmp_path):
    assert "PP-OCRv6" in encoder.info.trained_on and encoder.info.trained
    assert sum(encoder.info.parameters.values()) == 3_013_392
    with pytest.raises(Unavailable, match="convert_ppocr"):
        PPOCRSpec(weights=str(tmp_path / "no.safetensors")).open(Runtime())
    tensors = load_file(WEIGHTS)
    tensors["net.ctc.weight"] = torch.zeros(7, 120)
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=r"ctc\.weight"):
        PPOCRSpec(weights=str(tmp_path / "odd.safetensors")).open(Runtime())


def test_lines_keep_their_order_however_they_are_put_together(encoder):
    rng = np.random.default_rng(4)
    images = _images(rng, *((64, int(width)) for width in rng.integers(40, 900, 13)))
    together = encoder.encode(encoder.prepare(images))
    assert together.log_probs.shape[:2] == together.state_mask.shape
    for index, image in enumerate(images):
        alone = encoder.encode(encoder.prepare([image]))
        frames = int(alone.frames[0])
        assert frames == int(together.frames[index])
        difference = alone.log_probs[0, :frames].exp() - together.log_probs[index, :frames].exp()
        assert difference.abs().max() < 1e-3
