vim9script

# What the user is told, and what is still going on: popups, which never ask for <Enter> and don't
# move the cursor, whatever mode Vim is in.

# Milliseconds that a message stays.
const WARNING_TIME = 8000
const INFO_TIME = 3000
# How many messages are kept for the health check.
const KEPT = 20

var recent: list<string> = []
var last_warning = ''
# What is going on: name → [popup, its text].
var activities: dict<dict<any>> = {}

def OneLine(text: string): string
  return text->substitute('\_s\+', ' ', 'g')->trim()
enddef

def Named(text: string): string
  var line = OneLine(text)
  return line =~ '^ingle\>' ? line : 'ingle: ' .. line
enddef

def Keep(text: string)
  add(recent, strftime('%H:%M:%S ') .. text)
  if len(recent) > KEPT
    remove(recent, 0)
  endif
enddef

def Popup(text: string, highlight: string, time: number)
  popup_notification(text, {
    highlight: highlight,
    time: time,
    maxwidth: max([20, &columns - 8]),
    line: 1,
    col: &columns,
    pos: 'topright',
    minwidth: 1,
  })
enddef

# Something is wrong; the line says what, and what to do.
export def Warn(text: string)
  var line = Named(text)
  Keep(line)
  Popup(line, 'WarningMsg', WARNING_TIME)
enddef

# Something the user asked for was done, or can't be.
export def Info(text: string)
  var line = Named(text)
  Keep(line)
  Popup(line, 'Pmenu', INFO_TIME)
enddef

# A mistake of ours: `v:exception` and `v:throwpoint` of it, as one line.
export def Bug(exception: string, where: string)
  var place = matchstr(where, '[^.[:space:]]*\ze, line \d\+$') .. matchstr(where, ', line \d\+$')
  Warn($'this is a bug in the plugin: {exception} ({place})')
enddef

# The latest messages, oldest first.
export def Recent(): list<string>
  return copy(recent)
enddef

# Something that takes a while began, or is that far. One line for each name, until `Done`.
export def Activity(name: string, text: string)
  var line = Named(text)
  var known = get(activities, name, {})
  if empty(known) || empty(popup_getpos(known.popup))
    activities[name] = {popup: popup_create(line, {
      highlight: 'Pmenu',
      line: &lines - &cmdheight - 1 - len(activities),
      col: &columns,
      pos: 'botright',
      maxwidth: max([20, &columns - 8]),
      wrap: false,
      zindex: 60,
    })}
  else
    popup_settext(known.popup, line)
  endif
  activities[name].text = line
enddef

# It is over.
export def Done(name: string)
  if has_key(activities, name)
    popup_close(remove(activities, name).popup)
  endif
enddef

# What is going on, a line each.
export def Activities(): list<string>
  return activities->values()->mapnew((_, each) => each.text)->sort()
enddef
