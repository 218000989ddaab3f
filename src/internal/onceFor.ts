/** Makes what belongs to an object once, and keeps it for as long as the object. Nothing is kept when `make` throws. */
export const onceFor = <K extends object, V extends {}>(make: (key: K) => V): ((key: K) => V) => {
  const made = new WeakMap<K, V>()
  return (key) => {
    const known = made.get(key)
    if (known !== undefined) return known
    const value = make(key)
    made.set(key, value)
    return value
  }
}
