/** Small files of JSON in which a process remembers something about itself. Only their owner may read them. */
import { randomBytes } from "node:crypto"
import { mkdir, open, readFile, rename, rm } from "node:fs/promises"
import { dirname } from "node:path"

/** What the file holds, or undefined when there is none. Rejects with what is wrong with it, and quotes nothing of it. */
export const readState = async (path: string): Promise<unknown> => {
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT") return undefined
    throw new Error(`it cannot be read: ${code ?? error}`)
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new Error("it is not JSON")
  }
}

/** Replaces the file as a whole, or not at all. Rejects with why it cannot. */
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
    await rm(temporary, { force: true }).catch(() => {})
    throw new Error(`it cannot be written: ${(error as NodeJS.ErrnoException).code ?? error}`)
  }
}
