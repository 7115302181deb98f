vim9script

# Applies the server's edits, or refuses them: an edit is for the text that the server saw, and for
# buffers that may be changed. All of an edit is checked before anything of it is done.

import autoload './documents.vim'
import autoload './notify.vim'
import autoload './positions.vim'

# One change: lines and byte columns from 0, as in `start_line`, `start`, `end_line`, `end`; `lines`
# come in their place.
# One target: `buffer`, `path` of a file that is not open, `changes`.

# Apply a WorkspaceEdit; returns why it was not applied, or nothing.
export def Apply(edit: dict<any>): string
  var targets: list<dict<any>> = []
  for part in Parts(edit)
    var [target, reason] = Checked(part)
    if reason != ''
      return reason
    endif
    add(targets, target)
  endfor
  if empty(targets)
    return 'there is nothing to change'
  endif
  for target in targets
    Change(target)
    Reveal(target.buffer)
  endfor
  var names = mapnew(targets, (_, target) => fnamemodify(bufname(target.buffer), ':~:.'))
  notify.Info($'{join(names, ", ")} changed: `u` takes it back')
  return ''
enddef

# The parts of an edit: `uri`, `version` (null for any), `edits`, and `is_new` for a file that is to
# be created; `kind` of what can't be done here.
def Parts(edit: dict<any>): list<dict<any>>
  var parts: list<dict<any>> = []
  var created: dict<bool> = {}
  for change in get(edit, 'documentChanges', [])
    if has_key(change, 'kind')
      if change.kind == 'create'
        created[change.uri] = true
      else
        add(parts, {kind: change.kind})
      endif
      continue
    endif
    add(parts, {
      uri: change.textDocument.uri,
      version: get(change.textDocument, 'version', null),
      edits: change.edits,
      is_new: has_key(created, change.textDocument.uri),
    })
  endfor
  if empty(parts)
    for [uri, edits] in items(get(edit, 'changes', {}))
      add(parts, {uri: uri, version: null, edits: edits, is_new: false})
    endfor
  endif
  return parts
enddef

# A part → [the target, why it can't be changed or nothing].
def Checked(part: dict<any>): list<any>
  if has_key(part, 'kind')
    return [{}, $'Vim does not {part.kind} files for a language server']
  endif
  var buffer = documents.Buffer(part.uri)
  var path = positions.Path(part.uri)
  if buffer == 0 && path == ''
    return [{}, 'the document is not open']
  elseif buffer == 0 && part.version != null && !part.is_new
    # A version is of an open document; it was closed meanwhile.
    return [{}, 'the file was closed meanwhile']
  elseif part.is_new && (filereadable(path) || isdirectory(path))
    return [{}, $'{fnamemodify(path, ":t")} is there already']
  endif
  if buffer > 0
    if part.version != null && documents.Version(buffer) != part.version
      return [{}, 'the text was changed meanwhile']
    elseif !getbufvar(buffer, '&modifiable') || getbufvar(buffer, '&readonly')
      return [{}, 'the buffer is read-only']
    endif
  else
    buffer = Loaded(path)
    if part.is_new && getbufline(buffer, 1, '$') != ['']
      return [{}, $'{fnamemodify(path, ":t")} is open already']
    elseif !getbufvar(buffer, '&modifiable') || getbufvar(buffer, '&readonly')
      return [{}, 'the file is read-only']
    endif
  endif
  var changes: list<dict<any>> = []
  for edit in part.edits
    var change = Located(buffer, edit)
    if empty(change)
      return [{}, 'the edit is beyond the end of the text']
    endif
    add(changes, change)
  endfor
  # From the end to the beginning, so that the places of those to come stay. Where several texts are
  # inserted at one place, the first of the list comes first.
  reverse(changes)
  sort(changes, (one, other) => one.start_line != other.start_line
    ? other.start_line - one.start_line : other.start - one.start)
  for number in range(1, len(changes) - 1)
    var [later, earlier] = [changes[number - 1], changes[number]]
    if earlier.end_line > later.start_line
        || (earlier.end_line == later.start_line && earlier.end > later.start)
      return [{}, 'its edits overlap']
    endif
  endfor
  return [{buffer: buffer, changes: changes}, '']
enddef

# The buffer of a file, loaded.
def Loaded(path: string): number
  var buffer = bufadd(path)
  var options = &shortmess
  # A swap file that is there must not ask in the middle of something else.
  set shortmess+=A
  try
    bufload(buffer)
  finally
    &shortmess = options
  endtry
  return buffer
enddef

# An edit of the protocol → a change; empty if there is no such place.
def Located(buffer: number, edit: dict<any>): dict<any>
  var count = LineCount(buffer)
  var place: list<number> = []
  for position in [edit.range.start, edit.range.end]
    if position.line == count && position.character == 0
      # After the last line's end.
      place += [count, 0]
    elseif position.line >= count
      return {}
    else
      var column = positions.Column(positions.Line(buffer, position.line + 1), position.character)
      if column < 0
        return {}
      endif
      place += [position.line, column]
    endif
  endfor
  var [start_line, start, end_line, end] = place
  if end_line < start_line || (end_line == start_line && end < start)
    return {}
  endif
  # In a buffer whose lines end with CR, the server's do, too.
  var text: string = edit.newText
  if positions.Line(buffer, 1)[-1] != "\r"
    text = substitute(text, '\r\n\=', "\n", 'g')
  endif
  return {start_line: start_line, start: start, end_line: end_line, end: end,
    lines: split(text, "\n", true)}
enddef

def LineCount(buffer: number): number
  return getbufinfo(buffer)[0].linecount
enddef

def Change(target: dict<any>)
  var buffer: number = target.buffer
  if buffer == bufnr()
    # What is applied is one step of undo, also in the middle of typing.
    &g:undolevels = &g:undolevels
  endif
  for change in target.changes
    Replace(buffer, change)
  endfor
enddef

# Show a buffer that is in no window, beside; the cursor stays. Saving it is the user's affair.
def Reveal(buffer: number)
  setbufvar(buffer, '&buflisted', true)
  if empty(win_findbuf(buffer))
    var back = win_getid()
    execute $'keepalt belowright sbuffer {buffer}'
    filetype detect
    win_gotoid(back)
  endif
enddef

# Lines that stay the same are left alone, with their marks, signs and properties.
def Replace(buffer: number, change: dict<any>)
  var count = LineCount(buffer)
  var lines: list<string> = copy(change.lines)
  var last: number = change.end_line
  lines[0] = strpart(positions.Line(buffer, change.start_line + 1), 0, change.start) .. lines[0]
  if last < count
    lines[-1] ..= strpart(positions.Line(buffer, last + 1), change.end)
  else
    # The end of the last line goes with it, and comes with the text's own.
    last -= 1
    if lines[-1] == ''
      remove(lines, -1)
    endif
  endif
  var first: number = change.start_line
  while !empty(lines) && first <= last && positions.Line(buffer, first + 1) ==# lines[0]
    remove(lines, 0)
    first += 1
  endwhile
  while !empty(lines) && first <= last && positions.Line(buffer, last + 1) ==# lines[-1]
    remove(lines, -1)
    last -= 1
  endwhile
  var both = min([len(lines), last - first + 1])
  if both > 0
    setbufline(buffer, first + 1, lines[: both - 1])
  endif
  if len(lines) > both
    appendbufline(buffer, first + both, lines[both :])
  elseif last - first + 1 > both
    silent deletebufline(buffer, first + both + 1, last + 1)
  endif
enddef
