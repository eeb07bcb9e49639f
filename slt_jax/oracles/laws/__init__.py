"""Laws of the parameters that remain when a Gaussian block is integrated out, one file each."""
