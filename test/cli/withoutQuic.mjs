// Loaded before connet: the native binding cannot be loaded, as on platforms that have none.
import { registerHooks } from "node:module"

registerHooks({
  resolve: (specifier, context, next) => {
    if (specifier.startsWith("@matrixai/quic")) throw new Error("no build for this platform")
    return next(specifier, context)
  }
})
