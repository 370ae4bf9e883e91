"""What this installation is made of, and what it chose here."""

from fastlsm import _runtime, _threads


def show_config(mode="stdout"):
    """Show how fastlsm was built, and what it chose on this machine.

    Parameters
    ----------
    mode : {'stdout', 'dicts'}, default 'stdout'
        Whether to print the configuration or to return it.

    Returns
    -------
    dict or None
        With ``'dicts'`` the version, the compiler, the instruction sets
        (built, usable on this processor, chosen), the second-level cache that
        a processor has for itself, the OpenMP library that limits the threads,
        and the threads of a large call with where their number comes from.

    Raises
    ------
    ValueError
        If `mode` is neither.

    See Also
    --------
    get_num_threads : The number of threads alone.

    Examples
    --------
    >>> import fastlsm
    >>> config = fastlsm.show_config("dicts")
    >>> config["threads"]["count"] == fastlsm.get_num_threads()
    True
    """
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        raise ValueError(f"Invalid `mode`, use one of: stdout, dicts; got {mode!r}")
    config = _config()
    if mode == "dicts":
        return config
    print_config(config)
    return None


def print_config(config):
    for section, entries in config.items():
        print(f"{section}:")
        for key, value in entries.items():
            print(f"  {key}: {', '.join(value) if isinstance(value, list) else value}")


def _config():
    from fastlsm import __version__  # which is not there yet while the package is imported

    build = _runtime.kernels.build_info()
    count, source = _threads.available()
    return {
        "build": {"version": __version__, "compiler": build["compiler"]},
        "instruction sets": {
            "built": _runtime.built_levels(),
            "usable": _runtime.usable_levels(),
            "chosen": _runtime.level,
        },
        "second-level cache": {"bytes": _runtime.second_level_cache[0], "from": _runtime.second_level_cache[1]},
        "OpenMP": {"version": build["openmp"], "library": build["openmp_library"]},
        "threads": {"count": count, "from": source},
    }
