"""WaveNet: training and sampling.

net: the network in modules, for any device.
bands: a network over critically sampled bands, which draws from mixtures.
layer_stack: its gated layers as one operation, for training on a CPU.
sampler: autoregressive sampling, by torch or by the compiled engine.
compiled: the compiled engine, which packs the weights for the kernels.
kernels: the loop over the steps, compiled by Numba.
simd: the vector operations of kernels and layer_stack.
"""
