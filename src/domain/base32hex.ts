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
