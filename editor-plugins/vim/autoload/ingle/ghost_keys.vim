vim9script

# Keys in Insert mode. All but the one that asks for suggestions are mapped only while ghost text is
# shown, in its buffer: otherwise they do exactly what they did, whoever mapped them.

import autoload './config.vim'
import autoload './suggest.vim'

# The buffer whose keys are mapped, 0 if none is.
var armed = 0
# What the buffer's own mappings of these keys were: key → as of `maparg()`.
var covered: dict<dict<any>> = {}
# Name → key, as they are mapped now.
var mapped: dict<string> = {}

const ACTIONS: dict<func> = {
  accept: () => suggest.Accept('all'),
  accept_word: () => suggest.Accept('word'),
  accept_line: () => suggest.Accept('line'),
  next: () => suggest.Cycle(1),
  previous: () => suggest.Cycle(-1),
  dismiss: () => suggest.Dismiss(),
}

# Map the key that asks for suggestions.
export def MapSuggest()
  var key = config.Key('suggest')
  if key != '' && (config.IsChosen('suggest') || empty(maparg(key, 'i', false, true)))
    execute $'imap {key} <Plug>(ingle-suggest)'
  endif
enddef

# Ghost text is shown in a buffer.
export def Arm(buffer: number)
  if armed == buffer
    return
  endif
  Disarm(armed)
  armed = buffer
  for name in keys(ACTIONS)
    var key = config.Key(name)
    if key == ''
      continue
    endif
    var mapping: dict<any> = maparg(key, 'i', false, true)
    # A default gives way to a mapping that is there already; <Tab> does what that did otherwise.
    if !empty(mapping) && name != 'accept' && !config.IsChosen(name)
      continue
    endif
    if get(mapping, 'buffer', 0) == 1
      covered[key] = mapping
    endif
    execute $'inoremap <buffer> <nowait> <silent> {key} <Cmd>'
        .. $'call ingle#ghost_keys#Press("{name}", "{escape(substitute(key, "<", "<lt>", "g"), "\\\"")}")<CR>'
    mapped[name] = key
  endfor
enddef

# It is no longer.
export def Disarm(buffer: number)
  if armed == 0 || armed != buffer
    return
  endif
  armed = 0
  var [taken, theirs] = [mapped, covered]
  mapped = {}
  covered = {}
  if !bufloaded(buffer)
    return
  endif
  In(buffer, () => {
    for key in values(taken)
      execute $'silent! iunmap <buffer> {key}'
      if has_key(theirs, key)
        call('ingle#MapAgain', [theirs[key]])
      endif
    endfor
  })
enddef

# Run a function with a buffer as the current one; no autocommands see it.
def In(buffer: number, Function: func)
  if buffer == bufnr()
    Function()
    return
  endif
  var windows = win_findbuf(buffer)
  if !empty(windows)
    Deferred = Function
    win_execute(windows[0], 'call ingle#ghost_keys#RunDeferred()')
  endif
enddef

var Deferred: func

export def RunDeferred()
  Deferred()
enddef

# A key was pressed while ghost text was shown. If it does not fit the text any more, because more
# was typed than Vim has drawn, the key does what it does without.
export def Press(name: string, key: string)
  if armed == bufnr() && ACTIONS[name]()
    return
  elseif armed == bufnr()
    suggest.Forget()
  else
    # It was left behind in a buffer that was hidden in the meantime.
    execute $'iunmap <buffer> {key}'
  endif
  feedkeys(eval('"' .. escape(key, '\"<') .. '"'), 'im')
enddef
