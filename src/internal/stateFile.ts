/** Small files of JSON in which a process remembers something about itself. Only their owner may read them. */
import { mkdir, readFile } from "node:fs/promises"
import { dirname } from "node:path"
import { replaceFile } from "./replaceFile.ts"

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
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await replaceFile(path, `${JSON.stringify(state, undefined, 2)}\n`)
  } catch (error) {
    throw new Error(`it cannot be written: ${(error as NodeJS.ErrnoException).code ?? error}`)
  }
}
