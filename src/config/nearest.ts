/** The word that was probably meant: a few letters off, and nearest of all. */
export const nearest = (written: string, words: ReadonlyArray<string>): string | undefined => {
  const bound = written.length < 5 ? 1 : Math.max(2, Math.floor(written.length / 3))
  return words
    .map((word) => ({ word, apart: distance(written.toLowerCase(), word) }))
    .filter(({ word, apart }) => apart <= bound && apart < word.length)
    .sort((a, b) => a.apart - b.apart)[0]?.word
}

/** Letters to insert, remove or replace to get from one word to the other (Levenshtein). */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])))
    }
    row = next
  }
  return row[b.length]!
}
