vim9script

# The buffers that the server knows: their versions, and what has changed since it was last told.
#
# Changes are told when something is asked, and when the user stops typing: not with each key, so
# that typing what is shown sends nothing. A change is whole lines. What is kept of it is how many
# lines at the top and at the bottom are still as the server has them; unlike the line numbers that
# listeners get, that stays true when further lines are added or taken away.

import autoload './client.vim'
import autoload './config.vim'
import autoload './ghost.vim'
import autoload './notify.vim'
import autoload './positions.vim'

# Bytes above which a file is not sent: the server would give no suggestions for it.
const LARGEST_FILE = 5000000
const UNTOUCHED = 1000000000

# Identifiers of languages that are not the name of Vim's file type.
const LANGUAGES: dict<string> = {
  cs: 'csharp',
  gitcommit: 'git-commit',
  gitrebase: 'git-rebase',
  make: 'makefile',
  objc: 'objective-c',
  objcpp: 'objective-cpp',
  ps1: 'powershell',
  sh: 'shellscript',
  tex: 'latex',
  vb: 'vb',
  zsh: 'shellscript',
}

# Buffer → `uri`, `language`, `version`; `tick`, its b:changedtick when the server was last told;
# `lines`, how many the server has; `count`, how many there are; `top`, `bottom`, see above;
# `listener`.
var documents: dict<dict<any>> = {}
# Buffers that wait for the server to be ready.
var wanted: dict<bool> = {}

# Why a buffer can't be sent to the server; empty if it can.
export def Objection(buffer: number): string
  if getbufvar(buffer, '&buftype') != '' || bufname(buffer) =~ '^\a[a-z0-9+.-]\+://'
    return 'this is no file'
  elseif getbufvar(buffer, '&binary')
    return 'this file is binary'
  endif
  if buffer == bufnr() && line2byte(line('$') + 1) - 1 > LARGEST_FILE
    return TooLarge(line2byte(line('$') + 1) - 1)
  endif
  # Patterns take longer for this than everything else.
  var text = getbufline(buffer, 1, '$')->join(' ')
  if strlen(text) > LARGEST_FILE
    return TooLarge(strlen(text))
  endif
  # A NUL in a buffer is a line feed within a line.
  return stridx(text, "\n") >= 0 ? 'this file is binary' : ''
enddef

def TooLarge(bytes: number): string
  return printf('this file is too large: %.1f MB, at most %d', bytes / 1.0e6, LARGEST_FILE / 1000000)
enddef

def Language(buffer: number): string
  var type = getbufvar(buffer, '&filetype')->split('\.')->get(0, '')
  return get(LANGUAGES, type, type == '' ? 'plaintext' : type)
enddef

export def IsAttached(buffer: number): bool
  return has_key(documents, buffer)
enddef

# Tell the server of a buffer, at once or when it is ready. Starts the server if it does not run.
# Returns why that is not possible, or nothing.
export def Attach(buffer: number): string
  if IsAttached(buffer)
    return ''
  endif
  var objection = Objection(buffer)
  if objection == ''
    objection = client.Start()
  endif
  if objection != ''
    return objection
  elseif client.IsReady()
    Open(buffer)
  elseif !has_key(wanted, buffer)
    wanted[buffer] = true
    client.WhenReady(() => {
      if has_key(wanted, buffer)
        remove(wanted, buffer)
        if bufloaded(buffer) && !IsAttached(buffer) && Objection(buffer) == ''
          Open(buffer)
        endif
      endif
    })
  endif
  return ''
enddef

# The same for all buffers that are shown.
export def AttachAll()
  for window in getwininfo()
    if Objection(window.bufnr) == ''
      Attach(window.bufnr)
    endif
  endfor
enddef

def Open(buffer: number)
  var document: dict<any> = {
    uri: positions.Uri(buffer),
    language: Language(buffer),
    version: 1,
    listener: 0,
  }
  documents[buffer] = document
  Reset(buffer, document)
  document.listener = listener_add(OnChange, buffer)
  client.Notify('textDocument/didOpen', {textDocument: {
    uri: document.uri,
    languageId: document.language,
    version: document.version,
    text: positions.Text(getbufline(buffer, 1, '$')),
  }})
enddef

# The server is told of all that there is.
def Reset(buffer: number, document: dict<any>)
  var count = len(getbufline(buffer, 1, '$'))
  extend(document, {
    tick: getbufvar(buffer, 'changedtick'),
    lines: count,
    count: count,
    top: UNTOUCHED,
    bottom: UNTOUCHED,
  })
enddef

# A change, as `listener_add()` has it. Text must not be looked at here, it may have changed again.
def OnChange(buffer: number, _: number, _: number, _: number, changes: list<dict<number>>)
  var document = get(documents, buffer, {})
  if empty(document)
    return
  endif
  for change in changes
    document.top = min([document.top, change.lnum - 1])
    document.bottom = min([document.bottom, document.count - (change.end - 1)])
    document.count += change.added
  endfor
enddef

# Tell the server what has changed in a buffer.
export def Sync(buffer: number)
  var document = get(documents, buffer, {})
  if empty(document) || !bufloaded(buffer)
    return
  endif
  listener_flush(buffer)
  var tick = getbufvar(buffer, 'changedtick')
  if tick == document.tick && document.top == UNTOUCHED
    return
  endif
  var count = buffer == bufnr() ? line('$') : getbufinfo(buffer)[0].linecount
  var is_known = document.top != UNTOUCHED && document.count == count && document.bottom >= 0
  var first = is_known ? document.top + 1 : 1
  var last = is_known ? count - document.bottom : count
  var lines = getbufline(buffer, first, last)
  if stridx(join(lines, ' '), "\n") >= 0
    Close(buffer)
    notify.Info('no more suggestions here: the text has a NUL in it')
    return
  endif
  var change: dict<any> = {text: empty(lines) ? '' : positions.Text(lines)}
  if is_known
    change.range = {
      start: {line: document.top, character: 0},
      end: {line: document.lines - document.bottom, character: 0},
    }
  endif
  document.version += 1
  document.tick = tick
  document.lines = count
  document.count = count
  document.top = UNTOUCHED
  document.bottom = UNTOUCHED
  client.Notify('textDocument/didChange', {
    textDocument: {uri: document.uri, version: document.version},
    contentChanges: [change],
  })
  # What undo brought back has the ghost text that was on it.
  ghost.Sweep(buffer, first, last)
enddef

# Take ghost text away that undo brought back, without telling the server.
export def Sweep(buffer: number)
  var document = get(documents, buffer, {})
  if !empty(document)
    listener_flush(buffer)
    if document.top != UNTOUCHED
      ghost.Sweep(buffer, document.top + 1, document.count - document.bottom)
    endif
  endif
enddef

export def SyncAll()
  for buffer in keys(documents)
    Sync(str2nr(buffer))
  endfor
enddef

# The version of a buffer's text, which the server has; 0 if it does not know the buffer.
export def Version(buffer: number): number
  Sync(buffer)
  return get(documents, buffer, {version: 0}).version
enddef

# The buffer of a URI that the server knows; 0 if there is none.
export def Buffer(uri: string): number
  for [buffer, document] in items(documents)
    if document.uri == uri
      return str2nr(buffer)
    endif
  endfor
  return 0
enddef

export def Saved(buffer: number)
  if IsAttached(buffer)
    Sync(buffer)
    client.Notify('textDocument/didSave', {textDocument: {uri: documents[buffer].uri}})
  endif
enddef

# Tell the server that a buffer is gone.
export def Close(buffer: number)
  if has_key(wanted, buffer)
    remove(wanted, buffer)
  endif
  if IsAttached(buffer)
    ghost.Forget(buffer)
    var document = remove(documents, buffer)
    listener_remove(document.listener)
    client.Notify('textDocument/didClose', {textDocument: {uri: document.uri}})
  endif
enddef

# A buffer may have another name or language now.
export def Reopen(buffer: number)
  var document = get(documents, buffer, {})
  if !empty(document)
      && (document.uri != positions.Uri(buffer) || document.language != Language(buffer))
    Close(buffer)
    Attach(buffer)
  endif
enddef

# The server is gone.
export def ForgetAll()
  for [buffer, document] in items(documents)
    ghost.Forget(str2nr(buffer))
    listener_remove(document.listener)
  endfor
  documents = {}
  wanted = {}
enddef
