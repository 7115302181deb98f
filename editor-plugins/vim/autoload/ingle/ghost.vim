vim9script

# Ghost text: what of a suggestion is shown, and where. At most one, in the current buffer.
#
# Typing what is shown keeps the rest shown: what was typed of it is the text from where the
# suggestion began to the cursor. It is drawn with text properties, so it is never in the text.

import autoload './ghost_keys.vim'
import autoload './notify.vim'

const TEXT = 'ingle_ghost'
const HINT = 'ingle_hint'

# The suggestion: `buffer`; `lnum` and `column` (in bytes), where it began; `before` and `after`,
# what stood left and right of it; `texts`, one for each candidate; `index` of the one that is
# shown; `is_complete`, whether the server has no others. Empty if there is none.
var shown: dict<any> = {}
# What is drawn: `buffer`, `lnum`, `count` of properties. Empty if nothing is.
var drawn: dict<number> = {}

export def SetHighlights()
  highlight default IngleGhost ctermfg=DarkGrey guifg=#7f8c98
  highlight default link IngleHint IngleGhost
enddef

def DefineProperties()
  if empty(prop_type_get(TEXT))
    SetHighlights()
    prop_type_add(TEXT, {highlight: 'IngleGhost', combine: false})
    prop_type_add(HINT, {highlight: 'IngleHint', combine: false})
  endif
enddef

# Show candidates at the cursor, the one of the index at first.
export def Show(texts: list<string>, is_complete: bool, index = 0)
  Hide()
  var line = getline('.')
  var column = col('.') - 1
  shown = {
    buffer: bufnr(),
    lnum: line('.'),
    column: column,
    before: strpart(line, 0, column),
    after: strpart(line, column),
    texts: texts,
    index: index,
    is_complete: is_complete,
  }
  if !Refresh()
    Hide()
  endif
enddef

# Whether there is a suggestion, be it drawn at the right place or not: see `Refresh`.
export def IsThere(): bool
  return !empty(shown)
enddef

# What was typed of the suggestion, in a list; an empty list if the text is another now.
def Typed(): list<string>
  var lnum = line('.')
  var column = col('.') - 1
  if shown.buffer != bufnr() || lnum < shown.lnum || (lnum == shown.lnum && column < shown.column)
    return []
  endif
  var lines = getline(shown.lnum, lnum)
  if strpart(lines[0], 0, shown.column) !=# shown.before
      || strpart(lines[-1], column) !=# shown.after
    return []
  endif
  lines[-1] = strpart(lines[-1], 0, column)
  lines[0] = strpart(lines[0], shown.column)
  return [join(lines, "\n")]
enddef

# Numbers of the candidates that begin with what was typed and go on.
def Fitting(typed: string): list<number>
  var size = strlen(typed)
  return range(len(shown.texts))->filter((_, number) =>
    strlen(shown.texts[number]) > size && strpart(shown.texts[number], 0, size) ==# typed)
enddef

# What is left of the suggestion; empty if the text is another now, or all was typed.
export def Rest(): string
  var typed = empty(shown) ? [] : Typed()
  var fitting = empty(typed) ? [] : Fitting(typed[0])
  if empty(fitting)
    return ''
  endif
  if index(fitting, shown.index) < 0
    shown.index = fitting[0]
  endif
  return strpart(shown.texts[shown.index], strlen(typed[0]))
enddef

# Draw what is left of the suggestion; returns whether anything is.
export def Refresh(): bool
  var rest = Rest()
  if rest == ''
    return false
  endif
  Erase()
  var fitting = Fitting(Typed()[0])
  Draw(rest, len(fitting) > 1 ? $'{index(fitting, shown.index) + 1}/{len(fitting)}' : '')
  ghost_keys.Arm(shown.buffer)
  return true
enddef

# Whether the candidate that is so many steps from the one that is shown is known: the server may
# have further ones behind the last.
export def IsKnown(step: number): bool
  if shown.is_complete
    return true
  endif
  var fitting = Fitting(Typed()[0])
  var place = index(fitting, shown.index) + step
  return place >= 0 && place < len(fitting)
enddef

# Show the candidate that is so many steps from the one that is shown.
export def Cycle(step: number)
  if Rest() != ''
    var fitting = Fitting(Typed()[0])
    # A negative number counts from the end.
    shown.index = fitting[(index(fitting, shown.index) + step) % len(fitting)]
    Refresh()
  endif
enddef

# Take it away.
export def Hide()
  if empty(shown)
    return
  endif
  var buffer: number = shown.buffer
  shown = {}
  ghost_keys.Disarm(buffer)
  Erase()
enddef

# A buffer is no longer followed.
export def Forget(buffer: number)
  if !empty(shown) && shown.buffer == buffer
    Hide()
  endif
enddef

# Lines of a buffer have changed: none of them has ghost text but what is shown.
export def Sweep(buffer: number, first: number, last: number)
  if empty(prop_type_get(TEXT)) || first > last
    return
  endif
  prop_remove({types: [TEXT, HINT], bufnr: buffer, all: true}, first, last)
  if !empty(drawn) && drawn.buffer == buffer
    Erase()
    Refresh()
  endif
enddef

# --- drawing ---------------------------------------------------------------------------------------

# Tabs as spaces, because Vim draws each as one; `column` is that of the first character.
def Expanded(text: string, column: number): string
  if stridx(text, "\t") < 0
    return text
  endif
  var found = ''
  for part in split(text, '\t\zs')
    found ..= part[-1] == "\t" ? part[: -2] : part
    if part[-1] == "\t"
      found ..= repeat(' ', &tabstop - (column + strdisplaywidth(found)) % &tabstop)
    endif
  endfor
  return found
enddef

# How many rows of the window so many columns take.
def Rows(columns: number): number
  var info = getwininfo(win_getid())[0]
  return &wrap ? max([1, (columns - 1) / max([1, info.width - info.textoff]) + 1]) : 1
enddef

# `which` stands behind the first line.
def Draw(text: string, which: string)
  DefineProperties()
  var lnum = line('.')
  var column = col('.')
  var lines = split(text, "\n", true)
  var first = Expanded(remove(lines, 0), virtcol([lnum, column]) - 1)
  var rows = Rows(virtcol([lnum, '$']) - 1 + strdisplaywidth(first))
  # Vim shows nothing of a line that does not fit into the window with all that belongs to it.
  var room = max([0, min([winheight(0) / 2, winheight(0) - rows - 1])])
  var hint = which
  if len(lines) > room
    hint ..= (hint == '' ? '' : ', ') .. $'{len(lines) - room} more lines'
    lines = room == 0 ? [] : lines[: room - 1]
  endif
  var count = 0
  if first != ''
    prop_add(lnum, column, {type: TEXT, text: first})
    count += 1
  endif
  if hint != ''
    prop_add(lnum, 0, {type: HINT, text: hint, text_align: 'after', text_padding_left: 2})
    count += 1
  endif
  for line in lines
    # An empty text would draw nothing.
    prop_add(lnum, 0, {type: TEXT, text: line == '' ? ' ' : Expanded(line, 0), text_align: 'below'})
    count += 1
  endfor
  drawn = {buffer: bufnr(), lnum: lnum, count: count}
  MakeRoom(rows - Rows(virtcol('.')) + len(lines))
enddef

# Scroll so that so many rows below the cursor's are in the window; Vim does not by itself.
def MakeRoom(rows: number)
  var missing = winline() + rows - winheight(0)
  var top = line('w0')
  while missing > 0 && top < line('.')
    var end = foldclosedend(top)
    missing -= end > 0 ? 1 : Rows(virtcol([top, '$']) - 1)
    top = max([top, end]) + 1
  endwhile
  if top > line('w0')
    winrestview({topline: top})
  endif
enddef

def Erase()
  if empty(drawn)
    return
  endif
  var [buffer, lnum, count] = [drawn.buffer, drawn.lnum, drawn.count]
  drawn = {}
  if !bufloaded(buffer)
    return
  endif
  var properties = {types: [TEXT, HINT], bufnr: buffer, all: true}
  # Splitting and joining lines moves it by one.
  var last = len(getbufline(buffer, lnum, lnum + 1)) + lnum - 1
  var found = last < lnum ? 0 : prop_remove(properties, max([1, lnum - 1]), last)
  if found < count
    prop_remove(properties)
  endif
enddef
