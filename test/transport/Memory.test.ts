import { Effect, Layer } from "effect"
import { layer, MemoryNetwork } from "../../src/transport/memory/Memory.ts"
import { transportCompliance } from "../compliance/transport.ts"
import { full } from "../full.ts"

const network = new MemoryNetwork()

transportCompliance("Memory", {
  abandoned: full(12_000, 2_000),
  layer: (options) => Layer.fresh(layer(network, options)),
  link: (to, { delayMillis = 0, reordering = 0 }) =>
    Effect.sync(() => {
      let cut = false
      const address = network.link(to, {
        delayMillis: () => delayMillis + (Math.random() < reordering ? delayMillis : 0),
        cut: () => cut
      })
      return {
        address,
        cut: () => {
          cut = true
        }
      }
    })
})
