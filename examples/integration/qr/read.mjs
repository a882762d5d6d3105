// Reads QR codes as a phone would: prints what those in the given PNG files
// say, as a JSON array of strings, with null for a file in which none is found.
//
//	node read.mjs FILE...
import { readFileSync } from 'node:fs'
import jsQR from 'jsqr'
import { PNG } from 'pngjs'

const said = process.argv.slice(2).map((file) => {
  const { data, width, height } = PNG.sync.read(readFileSync(file))
  return jsQR(new Uint8ClampedArray(data), width, height)?.data ?? null
})
console.log(JSON.stringify(said))
