import type { ReadBuffer } from "./QuicConnection.ts"

/** Memory that stream data is received into. A chunk that somebody keeps holds no more than this. */
const READ_SLAB_BYTES = 64 * 1024
const MIN_READ_BYTES = 8 * 1024

/** Hands out the rest of a piece of memory as long as it is large enough, then a new one. */
export const slabReader = (): ReadBuffer => {
  let slab = Buffer.allocUnsafeSlow(READ_SLAB_BYTES)
  let used = 0
  return {
    space: () => {
      if (READ_SLAB_BYTES - used < MIN_READ_BYTES) {
        slab = Buffer.allocUnsafeSlow(READ_SLAB_BYTES)
        used = 0
      }
      return slab.subarray(used)
    },
    consumed: (bytes) => {
      used += bytes
    }
  }
}
