const ALPHABET = "0123456789abcdefghijklmnopqrstuv"

/** RFC 4648 §7 "extended hex" base 32, lower case, without padding: 32 bytes become 52 characters. */
export const encode = (bytes: Uint8Array): string => {
  let text = ""
  let buffer = 0
  let bits = 0
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(buffer >> bits) & 31]
    }
    buffer &= (1 << bits) - 1
  }
  return bits > 0 ? text + ALPHABET[(buffer << (5 - bits)) & 31] : text
}

/** The bytes of such a text; undefined when it has other letters, or ends within a byte. */
export const decode = (text: string): Uint8Array | undefined => {
  const bytes: Array<number> = []
  let buffer = 0
  let bits = 0
  for (const letter of text) {
    const value = ALPHABET.indexOf(letter)
    if (value < 0) return undefined
    buffer = (buffer << 5) | value
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes.push(buffer >> bits)
    buffer &= (1 << bits) - 1
  }
  return bits < 5 ? Uint8Array.from(bytes) : undefined
}
