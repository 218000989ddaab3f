import { Result } from "effect"
import { ValueInvalid } from "./ConfigError.ts"
import type { HostPort } from "./HostPort.ts"
import type { Place } from "./Place.ts"
import { all, type Checked } from "./together.ts"

/** Something that will listen on TCP. */
export interface Listening {
  readonly key: string
  readonly origin: string
  readonly address: HostPort
}

/** The addresses of ingresses, as far as they are good. */
export const listeningAt = (
  place: Place,
  ingresses: Checked<ReadonlyArray<{ readonly address: HostPort }>>
): ReadonlyArray<Listening> =>
  Result.getOrElse(ingresses, () => []).map(({ address }, index) => ({
    key: `${place.key}[${index}].addr`,
    origin: place.origin([index, "addr"]),
    address
  }))

/** No two of them listen at one address, as far as that can be told without resolving names. */
export const distinctAddresses = (listening: ReadonlyArray<Listening>): Checked<unknown> =>
  all(
    listening.flatMap(({ key, origin, address }, at) => {
      const other = listening.slice(0, at).find((before) => collide(before.address, address))
      if (other === undefined) return []
      const detail = `port ${address.port} is that of ${other.key}, too; choose another one`
      return [Result.fail(new ValueInvalid({ origin, key, detail }))]
    })
  )

const collide = (a: HostPort, b: HostPort): boolean =>
  a.port !== 0 && a.port === b.port && (a.host === b.host || ANY.has(a.host) || ANY.has(b.host))

const ANY = new Set(["", "::", "0.0.0.0"])
