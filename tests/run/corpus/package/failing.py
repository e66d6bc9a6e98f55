import package.inner; raise KeyError(package.inner.name)
