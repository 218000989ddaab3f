/**
 * Which file of a folder a request means. Nothing outside of the folder is ever named:
 *
 * - A path is decoded once. What is no plain name then (`..`, a NUL, a backslash, a separator that was encoded) is refused.
 * - Links are followed, and what they lead to must lie in the folder, too.
 * - Names that begin with a dot do not exist, unless they are asked for; nor do devices, pipes and sockets.
 */
import { realpath, stat } from "node:fs/promises"
import { basename, dirname, isAbsolute, join, relative, sep } from "node:path"

export type Found =
  /** Path from the root, without links. */
  | { readonly _tag: "file"; readonly root: string; readonly path: string }
  | { readonly _tag: "folder"; readonly root: string; readonly path: string; readonly names: ReadonlyArray<string> }
  /** A folder that was asked for without a slash at the end. */
  | { readonly _tag: "moved"; readonly location: string }
  | { readonly _tag: "refused"; readonly status: 400 | 404; readonly why: string }

/** The names in a path; a text says why there are none to be had. */
export const namesOf = (path: string, platform: NodeJS.Platform = process.platform): ReadonlyArray<string> | string => {
  const names: Array<string> = []
  for (const part of path.split("/")) {
    let name: string
    try {
      name = decodeURIComponent(part)
    } catch {
      return 'its path has a "%" that encodes nothing'
    }
    if (name === "") continue
    if (name === "." || name === "..") return "its path leads elsewhere"
    if (/[/\\\0]/.test(name)) return "its path has a character that no name has"
    if (platform === "win32" && WINDOWS_NAME.test(name)) return "its path has a name that means something else here"
    names.push(name)
  }
  return names
}

/** Drives and streams, names of devices, and ends that Windows leaves out. */
const WINDOWS_NAME = /:|[. ]$|~\d|^(?:con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])(?:\.|$)/i

/** Looks for what a path means in a folder, or in one file that is all there is. */
export const findFile = async (root: string, path: string, dotFiles: boolean): Promise<Found> => {
  const names = namesOf(path)
  if (typeof names === "string") return { _tag: "refused", status: 400, why: names }
  if (!dotFiles && names.some((name) => name.startsWith("."))) return NOT_FOUND
  try {
    const top = await realpath(root)
    if ((await stat(top)).isFile()) {
      const named = names.length === 0 || (names.length === 1 && names[0] === basename(root) && !path.endsWith("/"))
      return named ? { _tag: "file", root: dirname(top), path: basename(top) } : NOT_FOUND
    }
    const real = await realpath(join(top, ...names))
    const inside = relative(top, real)
    if (isAbsolute(inside) || inside === ".." || inside.startsWith(`..${sep}`)) return NOT_FOUND
    if (!dotFiles && inside.split(sep).some((name) => name.startsWith("."))) return NOT_FOUND
    const found = await stat(real)
    if (found.isDirectory()) {
      if (path.endsWith("/")) return { _tag: "folder", root: top, path: inside, names }
      return { _tag: "moved", location: `/${names.map(encodeURIComponent).join("/")}/` }
    }
    return found.isFile() && !path.endsWith("/") ? { _tag: "file", root: top, path: inside } : NOT_FOUND
  } catch {
    return NOT_FOUND
  }
}

const NOT_FOUND: Found = { _tag: "refused", status: 404, why: "there is no such file" }
