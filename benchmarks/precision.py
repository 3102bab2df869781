"""What bfloat16 weights cost a trained model: python benchmarks/precision.py --model M --data PREPARED.

On held-out speech, teacher-forced, through the compiled engine: the mean KL divergence of its predictions from
those with float32 weights, in nats a step, and both losses. Fails above 1e-4 nats, or where the losses differ in
the third decimal: then leave the weights of this model alone.
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
        raise SystemExit("this model's decoder is no WaveNet")
    vectors = decoder.speakers(batch.speaker)
    table = decoder.wavenet.table(decoder.conditioner(model.bottleneck(model.encoder(batch.wav)).z, vectors), vectors)
    classes = mulaw_encode(batch.wav)
    given = F.pad(classes, (1, -1), value=SILENT_CLASS)
    logits = [CompiledWaveNet(decoder.wavenet, kind).logits(given, table) for kind in ("float32", "bfloat16")]  # type: ignore[arg-type]
    return [torch.from_numpy(some).double().log_softmax(-1).flatten(0, 1) for some in logits], classes.flatten()


def main() -> None:
    """Measure on the test speech of a prepared corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=32)
    options = parser.parse_args()
    codec = Codec.load(options.model)
    test = [u for u in read_manifest(options.data) if u.split == "test"]
    crop = 16_000 // codec.hop_length * codec.hop_length
    steps, sums = 0, torch.zeros(3, dtype=torch.float64)
    for batch in held_out_batches(options.data, test, codec.speakers, crop, options.crops):
        (exact, short), classes = predictions(codec.model, batch)
        kl = (exact.exp() * (exact - short)).sum()
        sums += torch.stack(
            [kl, F.nll_loss(exact, classes, reduction="sum"), F.nll_loss(short, classes, reduction="sum")]
        )
        steps += len(classes)
    kl, loss, other = (sums / steps).tolist()
    print(f"{steps} steps: KL {kl:.2e} nats a step; loss {loss:.5f} with float32, {other:.5f} with bfloat16 weights")
    if kl >= 1e-4 or abs(loss - other) >= 5e-4:
        raise SystemExit("too much: keep to float32 weights")


if __name__ == "__main__":
    main()
