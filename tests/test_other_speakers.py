"""Losses on what is predicted for other speakers than those of a batch."""

import torch

from speechvq.nn.decoder.other_speakers import SpeakerClassifier, row_before, transposed_pitch


def test_the_pitch_in_the_voice_of_another_row():
    """A contour moves to the mean of the row before; rows beside one without a voiced frame have no target."""
    contours = torch.tensor([[100.0, 110.0, 120.0], [200.0, 240.0, 200.0], [150.0] * 3, [90.0] * 3])
    voiced = torch.tensor([[True, True, True], [True, False, True], [True] * 3, [False] * 3])
    moved, known = transposed_pitch(contours, voiced)
    assert row_before(torch.arange(4)).tolist() == [3, 0, 1, 2]
    assert known.tolist() == [[False] * 3, [True, False, True], [True] * 3, [False] * 3]
    mean = contours[0].log().mean().exp()
    torch.testing.assert_close(moved[1], torch.stack([mean, 1.2 * mean, mean]))
    torch.testing.assert_close(moved[2], torch.tensor([200.0] * 3))


def test_a_classifier_learns_speakers_and_then_judges_predictions():
    """Its own loss moves it and no prediction; its judgement moves the prediction, and not it."""
    torch.manual_seed(0)
    classifier, speaker = SpeakerClassifier(8, 3), torch.arange(3)
    natural = torch.randn(3, 8, 1) + 0.1 * torch.randn(3, 8, 40)
    optimizer = torch.optim.Adam(classifier.parameters(), 1e-3)
    predicted = natural.clone().requires_grad_()
    for _ in range(40):
        optimizer.zero_grad()
        classifier.learn(natural, predicted, speaker).backward()
        optimizer.step()
    assert predicted.grad is None
    optimizer.zero_grad()
    right, wrong = classifier.judge(predicted, speaker), classifier.judge(predicted, speaker.roll(1))
    assert 5 * right < wrong
    assert torch.autograd.grad(wrong, predicted, retain_graph=True)[0].abs().sum() > 0
    wrong.backward()
    assert all(one.grad is None for one in classifier.parameters())
