import numpy as np
import pytest
import torch


@pytest.fixture
def references(data_home):
    """Open a file of values computed with the authors' code, as tensors."""
    folder = data_home.parent / "references"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")

    def load(name, case):
        with np.load(folder / f"{name}.npz") as file:
            return {
                key.removeprefix(f"{case}/"): torch.as_tensor(file[key])
                for key in file.files
                if key.startswith(f"{case}/")
            }

    return load
