/** Small files of JSON in which a process remembers something about itself. Only their owner may read them. */
import { randomBytes } from "node:crypto"
import { mkdir, open, readFile, rename } from "node:fs/promises"
import { dirname } from "node:path"

/** What the file holds, or undefined when there is none. Rejects with a sentence that names the file. */
export const readState = async (path: string): Promise<unknown> => {
  try {
    return JSON.parse(await readFile(path, "utf8"))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === "ENOENT") return undefined
    throw new Error(`cannot read ${path}: ${code ?? message}`)
  }
}

/** Replaces the file as a whole, or not at all. Rejects with a sentence that names the file. */
export const writeState = async (path: string, state: unknown): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(temporary, "wx", 0o600)
    try {
      await file.writeFile(`${JSON.stringify(state, undefined, 2)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    throw new Error(`cannot write ${path}: ${(error as NodeJS.ErrnoException).code ?? error}`)
  }
}
