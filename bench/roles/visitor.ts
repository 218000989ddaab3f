/** A user beside the source: `visitor.ts <port> down|up <bytes>`. Prints the megabits a second. */
import { bulk } from "../load.ts"

const [port, direction, bytes] = process.argv.slice(2)
process.stderr.write(`${await bulk(Number(port), direction as "down" | "up", 1, Number(bytes))} Mbit/s\n`)
