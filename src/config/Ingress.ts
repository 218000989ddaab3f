/**
 * Where servers are reached: the ingresses of control, which have a certificate, and those of a relay, which have names
 * under which clients find them.
 *
 * The first ingress without `addr` has the default; there is only one of them, where upstream gives any further one a
 * port that nobody knows.
 */
import { isIP } from "node:net"
import { Result } from "effect"
import type { AddressRules } from "../domain/AddressRules.ts"
import { ValueInvalid, ValueMissing } from "./ConfigError.ts"
import type { IngressTable, RelayIngressTable } from "./ConfigTables.ts"
import type { CertificateFiles } from "./EndpointConfig.ts"
import { type HostPort, parseHostport, parseListenAddress } from "./HostPort.ts"
import type { Place } from "./Place.ts"
import { checkAddresses, type WrittenAddresses } from "./Restriction.ts"
import { all, type Checked, checkedTogether } from "./together.ts"

export interface IngressConfig<Certificate = CertificateFiles> {
  /** Where to listen. */
  readonly address: HostPort
  readonly certificate: Certificate
  /** From where one may come. */
  readonly addresses: AddressRules
}

/** Without a certificate in the settings the server makes one for all of its ingresses. */
export type ServerIngressConfig = IngressConfig<CertificateFiles | undefined>

type NonEmpty<A> = readonly [A, ...Array<A>]

export interface RelayIngressConfig {
  /** Where to listen. */
  readonly address: HostPort
  /** Where clients are told to find it; at least one, each with a host and a port. */
  readonly advertised: ReadonlyArray<HostPort>
  /** From where one may come. */
  readonly addresses: AddressRules
}

/** The ingresses of control, at least one, each with a certificate. */
export const checkIngresses = (
  tables: ReadonlyArray<IngressTable> = [],
  place: Place,
  defaultAddress: string
): Checked<NonEmpty<IngressConfig>> => {
  const checked = all(
    tables.map((_, index) => {
      const file = (name: "cert-file" | "key-file"): Checked<string> =>
        Result.fromNullishOr(tables[index]![name] || undefined, () =>
          missing(place, index, name, "every ingress needs a certificate and its key")
        )
      return checkedTogether({
        certificate: checkedTogether({ certificateFile: file("cert-file"), keyFile: file("key-file") }),
        address: checkAddress(tables, index, place, defaultAddress),
        addresses: checkRules(tables, index, place)
      })
    })
  )
  return Result.flatMap(checked, ([first, ...rest]) => {
    if (first !== undefined) return Result.succeed([first, ...rest])
    const detail = `give the server a certificate with [[${place.key}]] cert-file and key-file`
    return Result.fail(new ValueMissing({ key: place.key, detail }))
  })
}

/** The ingresses of a server that has no certificate; without any settings there is one at the default address. */
export const checkOwnIngresses = (
  tables: ReadonlyArray<IngressTable> = [],
  place: Place,
  defaultAddress: string
): Checked<ReadonlyArray<IngressConfig<undefined>>> => {
  const given = tables.length === 0 ? [{}] : tables
  return all(
    given.map((_, index) =>
      checkedTogether({
        certificate: Result.succeed(undefined),
        address: checkAddress(given, index, place, defaultAddress),
        addresses: checkRules(given, index, place)
      })
    )
  )
}

/** The ingresses of a relay; without any, it listens on the default, for clients on this machine. */
export const checkRelayIngresses = (
  tables: ReadonlyArray<RelayIngressTable> = [],
  place: Place
): Checked<ReadonlyArray<RelayIngressConfig>> => {
  const given = tables.length === 0 ? [{}] : tables
  return all(given.map((_, index) => checkRelayIngress(given, index, place)))
}

const checkRelayIngress = (
  tables: ReadonlyArray<RelayIngressTable>,
  index: number,
  place: Place
): Checked<RelayIngressConfig> => {
  const address = checkAddress(tables, index, place, `:${RELAY_PORT}`)
  const hostports = all(
    (tables[index]!.hostports ?? []).map((text) =>
      Result.mapError(parseHostport(text), (detail) => invalid(place, index, "hostports", detail))
    )
  )
  const checked = checkedTogether({ address, hostports, addresses: checkRules(tables, index, place) })
  return Result.map(checked, ({ address, hostports, addresses }) => ({
    address,
    advertised: advertise(address, hostports),
    addresses
  }))
}

/**
 * The hostports with what they leave out: the address of the ingress, as far as it names an IP address, and its port.
 *
 * Without any, upstream advertises nothing, so that no client ever finds the relay, although its README promises
 * localhost. Here it is this machine then, or the one address that is listened on. Port 0 stands for the one that is bound,
 * where upstream tells of port 19191 whatever it is.
 */
const advertise = (address: HostPort, hostports: ReadonlyArray<HostPort>): ReadonlyArray<HostPort> => {
  const { port } = address
  const host = isIP(address.host) === 0 ? "localhost" : address.host
  if (hostports.length === 0) return [{ host: ANY_ADDRESS.has(host) ? "localhost" : host, port }]
  return hostports.map((given) => ({ host: given.host || host, port: given.port || port }))
}

const checkAddress = (
  tables: ReadonlyArray<{ readonly addr?: string }>,
  index: number,
  place: Place,
  defaultAddress: string
): Checked<HostPort> => {
  const addr = tables[index]!.addr ?? ""
  if (addr === "" && tables.findIndex((table) => (table.addr ?? "") === "") !== index) {
    return Result.fail(missing(place, index, "addr", `only one ingress can have the default, ${defaultAddress}`))
  }
  return Result.mapError(parseListenAddress(addr || defaultAddress), (detail) => invalid(place, index, "addr", detail))
}

const checkRules = (tables: ReadonlyArray<WrittenAddresses>, index: number, place: Place): Checked<AddressRules> =>
  checkAddresses(tables[index]!, (name, detail) => invalid(place, index, name, detail))

const missing = ({ key, origin }: Place, index: number, name: string, detail: string) =>
  new ValueMissing({ origin: origin([index, name]), key: `${key}[${index}].${name}`, detail })

const invalid = ({ key, origin }: Place, index: number, name: string, detail: string) =>
  new ValueInvalid({ origin: origin([index, name]), key: `${key}[${index}].${name}`, detail })

/** Where a relay listens, and where it is found, unless told otherwise. */
export const RELAY_PORT = 19_191

const ANY_ADDRESS = new Set(["0.0.0.0", "::"])
