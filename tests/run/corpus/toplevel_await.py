await_ = 1; print(await_); await x
