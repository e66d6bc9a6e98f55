raise ExceptionGroup("group", [ValueError(1), ExceptionGroup("nested", [OSError(2, "no")])])
