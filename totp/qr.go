package totp

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"github.com/boombuler/barcode/qr"
)

// quiet is the width of the white border, in modules.
const quiet = 4

// matrixOf returns the modules of the QR code of text, black ones true. barcode.Scale,
// and so Key.Image of pquerna/otp, leaves a border of the remaining pixels only, for
// some sizes none.
func matrixOf(text string) (modules [][]bool, err error) {
	code, err := qr.Encode(text, qr.M, qr.Unicode)
	if err != nil {
		// err has the text, and so the secret.
		return nil, errors.New("totp: the URI does not fit into a QR code")
	}
	n := code.Bounds().Dx()
	for y := range n {
		row := make([]bool, n)
		for x := range n {
			luminance := color.GrayModel.Convert(code.At(x, y)).(color.Gray).Y
			row[x] = luminance < 128
		}
		modules = append(modules, row)
	}
	return modules, nil
}

func pngOf(text string, size int) ([]byte, error) {
	if size < minQR || size > maxQR {
		return nil, fmt.Errorf("totp: the size of a QR code is %d; use %d to %d", size, minQR, maxQR)
	}
	modules, err := matrixOf(text)
	if err != nil {
		return nil, err
	}
	width := len(modules) + 2*quiet
	size = max(size, 2*width)
	pixels := size / width
	margin := (size - pixels*len(modules)) / 2
	picture := image.NewPaletted(image.Rect(0, 0, size, size), color.Palette{color.White, color.Black})
	for y, row := range modules {
		line := picture.Pix[(margin+y*pixels)*picture.Stride:]
		for x, black := range row {
			for i := range pixels {
				if black {
					line[margin+x*pixels+i] = 1
				}
			}
		}
		for i := 1; i < pixels; i++ {
			copy(line[i*picture.Stride:(i+1)*picture.Stride], line[:picture.Stride])
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func svgOf(text string) ([]byte, error) {
	modules, err := matrixOf(text)
	if err != nil {
		return nil, err
	}
	width := len(modules) + 2*quiet
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %[1]d" shape-rendering="crispEdges">`+
		`<path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path fill="#000" d="`, width)
	for y, row := range modules {
		for x := 0; x < len(row); x++ {
			run := 0
			for x+run < len(row) && row[x+run] {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%[3]dz", x+quiet, y+quiet, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.Bytes(), nil
}
