"""The cost of bfloat16 weights in a trained WaveNet, on held-out speech.

    python benchmarks/precision.py --model MODEL --data PREPARED [--crops 32]

Measures the mean KL divergence of the predictions with bfloat16 weights from those with float32 weights, in nats per
sample, and both losses (teacher-forced, compiled engine). Fails if the divergence reaches 1e-4 nats or the losses
differ in the third decimal: then this model should keep its float32 weights.
"""

import argparse
from pathlib import Path

import torch
from torch.nn import functional as F

from speechvq.audio.mulaw import mulaw_encode
from speechvq.codec import Codec
from speechvq.data.manifest import read_manifest
from speechvq.nn.decoder.wavenet import SILENT_CLASS, WaveNetDecoder
from speechvq.nn.vqvae import VQVAE, Batch
from speechvq.train.batches import held_out_batches
from speechvq.wavenet.compiled import CompiledWaveNet


@torch.inference_mode()
def predictions(model: VQVAE, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Log-probabilities (B * T, classes) with float32 and with bfloat16 weights, and the classes (B * T,)."""
    decoder = model.decoder
    if not isinstance(decoder, WaveNetDecoder):
        raise SystemExit("the decoder of this model is not a WaveNet")
    vectors = decoder.speakers(batch.speaker)
    z_q = model.bottleneck(model.encoder(batch.wav)).z
    table = decoder.wavenet.table(decoder.conditioner(z_q, vectors), vectors)
    classes = mulaw_encode(batch.wav)
    previous = F.pad(classes, (1, -1), value=SILENT_CLASS)
    engines = [CompiledWaveNet(decoder.wavenet, "float32"), CompiledWaveNet(decoder.wavenet, "bfloat16")]
    logits = [torch.from_numpy(engine.logits(previous, table)) for engine in engines]
    return [some.double().log_softmax(-1).flatten(0, 1) for some in logits], classes.flatten()


def main() -> None:
    """Measure on the test split of a prepared corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a model with a WaveNet decoder")
    parser.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    parser.add_argument("--crops", type=int, default=32, help="crops of a second (default: 32)")
    options = parser.parse_args()
    codec = Codec.load(options.model)
    test = [u for u in read_manifest(options.data) if u.split == "test"]
    crop = 16_000 // codec.hop_length * codec.hop_length
    samples, sums = 0, torch.zeros(3, dtype=torch.float64)
    for batch in held_out_batches(options.data, test, codec.speakers, crop, options.crops):
        (exact, rounded), classes = predictions(codec.model, batch)
        kl = (exact.exp() * (exact - rounded)).sum()
        losses = [F.nll_loss(one, classes, reduction="sum") for one in (exact, rounded)]
        sums += torch.stack([kl, *losses])
        samples += len(classes)
    kl, loss, rounded_loss = (sums / samples).tolist()
    print(
        f"{samples} samples: KL {kl:.2e} nats; loss {loss:.5f} with float32, {rounded_loss:.5f} with bfloat16 weights"
    )
    if kl >= 1e-4 or abs(loss - rounded_loss) >= 5e-4:
        raise SystemExit("too much: keep the float32 weights")


if __name__ == "__main__":
    main()
