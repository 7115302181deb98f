vim9script

# What takes a while and can be cancelled: changes, explanations, loading a model.

import autoload './client.vim'
import autoload './notify.vim'

# Token → `handle`, and `what` it does in a few words.
var running: dict<dict<any>> = {}
var last_number = 0

def NewToken(): string
  last_number += 1
  return $'vim-{getpid()}-{last_number}'
enddef

# Run a command of the server and show that it runs. `Argument` is as of `client.Command`; `Done`
# gets the result; errors are told.
export def Run(what: string, name: string, Argument: any, Done: func)
  var token = NewToken()
  notify.Activity(token, $'{what} (`:Ingle cancel` stops it)')
  running[token] = {what: what, handle: client.Command(name, Argument,
    (error, result) => OnAnswer(token, error, result, Done), token)}
enddef

# The same for a request that is no command.
export def Ask(what: string, method: string, Params: any, Done: func)
  var token = NewToken()
  notify.Activity(token, $'{what} (`:Ingle cancel` stops it)')
  running[token] = {what: what, handle: client.Request(method, Params,
    (error, result) => OnAnswer(token, error, result, Done))}
enddef

def OnAnswer(token: string, error: string, result: any, Done: func)
  if has_key(running, token)
    remove(running, token)
  endif
  notify.Done(token)
  if error != ''
    notify.Warn(error)
  else
    Done(result)
  endif
enddef

# Take a `$/progress`.
export def Progress(params: dict<any>)
  var token: any = get(params, 'token', '')
  var value: any = get(params, 'value', {})
  if type(token) != v:t_string || !has_key(running, token) || type(value) != v:t_dict
    return
  endif
  if get(value, 'kind', '') == 'report'
    var text = $'{running[token].what}: {get(value, "message", "")}'
    var percentage: any = get(value, 'percentage', null)
    if type(percentage) == v:t_number
      text ..= $' {percentage} %'
    endif
    notify.Activity(token, text)
  endif
enddef

# Cancel everything; returns how many there were.
export def CancelAll(): number
  var all = running
  running = {}
  for [token, task] in items(all)
    client.Cancel(task.handle)
    notify.Done(token)
  endfor
  return len(all)
enddef
