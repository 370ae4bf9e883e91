"""NumPy arrays as PyTorch tensors on the same memory."""

import numpy as np
import torch

torch.set_grad_enabled(False)


def dtype_of(problem):
    return getattr(torch, problem.cell.dtype)


def tensor(array, problem):
    if problem.cell.dtype == "bfloat16":  # NumPy's bfloat16 is not known to PyTorch
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)
