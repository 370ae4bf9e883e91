# Cython finds the files beside this one as fastlsm.kernels.*; they are compiled into _kernels.
