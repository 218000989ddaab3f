import { assert, describe, it } from "vitest"
import type { LogRecord } from "../../src/cli/logging.ts"
import { makeRepeats } from "../../src/cli/repeats.ts"

const record = (second: number, message: string, fields: LogRecord["fields"] = {}, level = "info"): LogRecord => ({
  time: new Date(second * 1_000).toISOString(),
  level,
  message,
  fields,
  cause: undefined
})

/** What is written for each of some records, as `message` and how often it is repeated. */
const told = (...records: ReadonlyArray<LogRecord>) => {
  const written = makeRepeats()
  return records.map((record) =>
    written(record).map(({ message, fields }) => (fields.repeated ? `${message} ${fields.repeated}` : message))
  )
}

describe("failures in the log", () => {
  it("are told once, and summed up when a minute is over", () => {
    const refused = (second: number) =>
      record(second, "client.refused", { reason: "no", address: `192.0.2.7:${second}` })
    assert.deepEqual(told(refused(0), refused(1), refused(59), refused(60), refused(61), record(121, "peer.met")), [
      ["client.refused"],
      [],
      [],
      ["client.refused 2", "client.refused"],
      [],
      ["client.refused 1", "peer.met"]
    ])
  })

  it("are told apart by what they say", () => {
    const failed = (reason: string) => record(0, "connection.failed", { endpoint: "web", reason }, "warn")
    assert.deepEqual(told(failed("a"), failed("b"), failed("a")), [["connection.failed"], ["connection.failed"], []])
  })

  it("are only what has failed: everything else is written each time", () => {
    const [met, lost] = [record(0, "peer.met"), record(0, "path.lost", { reason: "closed" })]
    assert.deepEqual(told(met, met, lost, lost), [["peer.met"], ["peer.met"], ["path.lost"], ["path.lost"]])
  })

  it("do not fill the memory, however many kinds there are", () => {
    const many = Array.from({ length: 1_000 }, (_, n) => record(0, "client.refused", { reason: n }))
    assert.isTrue(told(...many, ...many).every((lines, at) => lines.length === (at >= 1_000 && at < 1_256 ? 0 : 1)))
  })

  it("keep the last of what they sum up", () => {
    const written = makeRepeats()
    const at = (second: number) => record(second, "link.refused", { address: `192.0.2.7:${second}` })
    for (const second of [0, 1, 2]) written(at(second))
    assert.deepEqual(written(record(100, "peer.met"))[0], { ...at(2), fields: { address: "192.0.2.7:2", repeated: 2 } })
  })
})
