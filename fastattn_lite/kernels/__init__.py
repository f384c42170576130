"""Fused Triton kernels: step 4, evaluation, on a GPU. `backend="triton"` asks for them by name.

Modules, in the order of the derivation: `pairs` (the scores themselves, where they are less work),
`rows` (which monomials, with which weight), `accumulate` (moments of chunks), `combine` (prefix
sums), `evaluate` (outputs), `differentiate` (gradients), `decode` (one token on a state); `states`,
`forward`, `backward` and `step` start them, through `launch`, which repeats the starts of a call
that was made before; `operator` takes tensors of any leading axes; `support` says what they take,
`settings` how large their tiles are and from when moments are faster.
"""
