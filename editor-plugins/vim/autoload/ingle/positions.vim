vim9script

# Places in buffers, and positions and URIs of the protocol.
#
# A place is a line from 1 and a byte column from 0. Positions count units of the encoding that was
# negotiated: bytes of UTF-8 as Vim itself, if the server can, else units of UTF-16 or characters.
# What is no UTF-8 in a buffer is sent as U+FFFD, and counted as such.

# What is offered, the best first.
export const ENCODINGS: list<string> = ['utf-8', 'utf-16', 'utf-32']

var encoding = 'utf-16'

# Take what the server chose; the protocol's default if it says nothing.
export def SetEncoding(name: any)
  encoding = type(name) == v:t_string && index(ENCODINGS, name) >= 0 ? name : 'utf-16'
enddef

export def Encoding(): string
  return encoding
enddef

def Utf8Bytes(character: number): number
  return character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3
    : character < 0x110000 ? 4 : character < 0x4000000 ? 5 : 6
enddef

# Units of a character as it is sent.
def Width(character: number): number
  var sent = character > 0x10ffff ? 0xfffd : character
  return encoding == 'utf-8' ? Utf8Bytes(sent) : encoding == 'utf-16' && sent > 0xffff ? 2 : 1
enddef

def IsAscii(text: string): bool
  return text !~ '[^\x01-\x7f]'
enddef

# Bytes and units of each character of a text.
def Sizes(text: string): list<list<number>>
  var sizes = str2list(text)->mapnew((_, character) => [Utf8Bytes(character), Width(character)])
  var bytes = 0
  for [count, _] in sizes
    bytes += count
  endfor
  if bytes == strlen(text)
    return sizes
  endif
  # Vim takes a byte that is no UTF-8 for the character of its number.
  sizes = []
  var at = 0
  while at < strlen(text)
    var character = strcharpart(strpart(text, at, 6), 0, 1)
    var number = strlen(character) == 1 && char2nr(character) >= 0x80 ? 0xfffd : char2nr(character)
    add(sizes, [strlen(character), Width(number)])
    at += strlen(character)
  endwhile
  return sizes
enddef

# How many units a text has.
export def Units(text: string): number
  if IsAscii(text)
    return strlen(text)
  endif
  var total = 0
  for [_, units] in Sizes(text)
    total += units
  endfor
  return total
enddef

# The byte column of so many units in a line; -1 beyond its end or within a character.
export def Column(line: string, units: number): number
  if IsAscii(line)
    return units <= strlen(line) ? units : -1
  endif
  var passed = 0
  var column = 0
  for [bytes, width] in Sizes(line)
    if passed >= units
      break
    endif
    passed += width
    column += bytes
  endfor
  return passed == units ? column : -1
enddef

# First bytes of what may be a surrogate, or a number above those of characters.
const SUSPICIOUS = ["\xed", "\xf4", "\xf5", "\xf6", "\xf7", "\xf8", "\xf9", "\xfa", "\xfb",
  "\xfc", "\xfd"]
# The old engine has no ranges as large as this.
const OUTLAWS = '\%#=2[\ud800-\udfff\U110000-\U7fffffff]'

# Lines as the protocol has a text. It knows no CR within a line, and JSON no number that is no
# character; a CR at a line's end is part of it.
export def Text(lines: list<string>): string
  var text = join(lines, "\n") .. "\n"
  if stridx(text, "\r") >= 0
    text = substitute(text, '\r\ze[^\n]', ' ', 'g')
  endif
  for byte in SUSPICIOUS
    if stridx(text, byte) >= 0
      return substitute(text, OUTLAWS, "\ufffd", 'g')
    endif
  endfor
  return text
enddef

# A line of a loaded buffer; empty past the end.
export def Line(buffer: number, lnum: number): string
  return get(getbufline(buffer, lnum), 0, '')
enddef

# A place → a position. There is none behind a CR at a line's end.
export def Position(buffer: number, lnum: number, column: number): dict<number>
  var line = Line(buffer, lnum)
  var end = strlen(line) - (line[-1] == "\r" ? 1 : 0)
  return {line: lnum - 1, character: Units(strpart(line, 0, min([column, end])))}
enddef

# An empty range at a place.
export def At(buffer: number, lnum: number, column: number): dict<any>
  var here = Position(buffer, lnum, column)
  return {start: here, end: here}
enddef

# Whole lines as a range.
export def Lines(first: number, last: number): dict<any>
  return {start: {line: first - 1, character: 0}, end: {line: last, character: 0}}
enddef

# What a command with a range means: the characters of a characterwise selection, else whole lines.
export def OfCommand(buffer: number, first: number, last: number): dict<any>
  if visualmode() !=# 'v' || line("'<") != first || line("'>") != last
    return Lines(first, last)
  endif
  var end = Line(buffer, last)
  # The last character belongs to it, however many bytes it has; so does a line's end.
  var at = col("'>") - 1
  if at >= strlen(end)
    return {start: Position(buffer, first, col("'<") - 1), end: {line: last, character: 0}}
  endif
  var after = at + strlen(matchstr(end, '.', at))
  return {start: Position(buffer, first, col("'<") - 1), end: Position(buffer, last, after)}
enddef

# --- URIs ------------------------------------------------------------------------------------------

def Percent(character: string): string
  return range(strlen(character))
    ->mapnew((_, at) => printf('%%%02X', char2nr(strpart(character, at, 1))))
    ->join('')
enddef

# A file's URI.
export def UriOfPath(path: string): string
  var full = fnamemodify(path, ':p')
  if has('win32')
    full = '/' .. substitute(full, '\\', '/', 'g')
  endif
  return 'file://' .. substitute(full, '[^A-Za-z0-9/._~-]', (found) => Percent(found[0]), 'g')
enddef

# A buffer's URI; those without a name have one of their own.
export def Uri(buffer: number): string
  var name = bufname(buffer)
  return name == '' ? $'untitled:Untitled-{buffer}' : UriOfPath(name)
enddef

# The path of a file's URI; empty for another kind.
export def Path(uri: string): string
  if uri !~? '^file://'
    return ''
  endif
  var path = substitute(uri, '\c^file://[^/]*', '', '')
  # Latin 1 has the same numbers as bytes.
  path = substitute(path, '%\(\x\x\)',
    (found) => iconv(nr2char(str2nr(found[1], 16)), 'utf-8', 'latin1'), 'g')
  return has('win32') ? substitute(path, '^/', '', '') : path
enddef
