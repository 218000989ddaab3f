import { Schema } from "effect"

/** The longest endpoint name that is accepted, in UTF-8 bytes. Longer names would only burden every peer's tables. */
export const MAX_ENDPOINT_NAME_BYTES = 255

/**
 * The name under which sources and destinations meet: 1 to 255 bytes of UTF-8 without control characters.
 *
 * Names are global at a control server: whoever uses the same name with the opposite role is a peer.
 */
export const EndpointName = Schema.String.check(
  Schema.makeFilter((name) => {
    if (name.length === 0) return "an endpoint name must not be empty"
    if (Buffer.byteLength(name) > MAX_ENDPOINT_NAME_BYTES) {
      return `an endpoint name has at most ${MAX_ENDPOINT_NAME_BYTES} bytes`
    }
    return /\p{Cc}/u.test(name) ? "an endpoint name has no control characters" : undefined
  })
).pipe(Schema.brand("EndpointName"))

export type EndpointName = typeof EndpointName.Type
