"""The parts of `benchmarks/intelligibility.py`: sentences, systems, judges, results."""
