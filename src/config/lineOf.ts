import { type AST, parseTOML } from "toml-eslint-parser"

/**
 * The line, counted from 1, in which a TOML text sets what is at this path, or else the nearest table around it. Keys match in
 * any case. Undefined when nothing of the path is in the text, or the text is not TOML.
 */
export const lineOf = (text: string, path: ReadonlyArray<PropertyKey>): number | undefined => {
  const wanted = path.map(plain)
  let best: { readonly length: number; readonly line: number } | undefined
  const found = (keys: ReadonlyArray<string>, { loc }: AST.TOMLNode) => {
    const line = loc.start.line
    // What is within a table that has no line of its own stands for it.
    const length = Math.min(keys.length, wanted.length)
    if (length > (best?.length ?? 0) && keys.slice(0, length).every((key, at) => key === wanted[at])) {
      best = { length, line }
    }
  }

  const visit = (node: AST.TOMLNode, above: ReadonlyArray<string>): void => {
    switch (node.type) {
      case "TOMLTopLevelTable":
        for (const child of node.body) visit(child, above)
        return
      case "TOMLTable": {
        const keys = node.resolvedKey.map(plain)
        found(keys, node)
        for (const child of node.body) visit(child, keys)
        return
      }
      case "TOMLInlineTable":
        for (const child of node.body) visit(child, above)
        return
      case "TOMLKeyValue": {
        const keys = [...above, ...node.key.keys.map((key) => plain(key.type === "TOMLBare" ? key.name : key.value))]
        found(keys, node)
        visit(node.value, keys)
        return
      }
      case "TOMLArray":
        for (const [index, element] of node.elements.entries()) {
          found([...above, plain(index)], element)
          visit(element, [...above, plain(index)])
        }
    }
  }

  try {
    // The version that reads the most: whether the text is allowed was decided by whoever read it.
    visit(parseTOML(text, { tomlVersion: "next" }).body[0], [])
  } catch {
    return undefined
  }
  return best?.line
}

const plain = (key: PropertyKey): string => String(key).toLowerCase()
